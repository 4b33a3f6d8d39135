# s3torchconnector's client (the AWS CRT of mountpoint-s3): checkpoints written in parts, read back, listed.
import os
from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

bucket = os.environ["BUCKET"]
client = MountpointS3Client(region=os.environ["AWS_REGION"], endpoint=os.environ["S3_ENDPOINT"], force_path_style=True, part_size=8 << 20, throughput_target_gbps=1.0)
body = os.urandom(30 << 20)
stream = client.put_object(bucket, "checkpoint.pt")
for at in range(0, len(body), 1 << 20):
    stream.write(body[at : at + (1 << 20)])
stream.close()
assert b"".join(client.get_object(bucket, "checkpoint.pt")) == body
for n in range(25):
    small = client.put_object(bucket, f"samples/{n:03}")
    small.write(bytes([n]) * 1000)
    small.close()
names = [info.key for page in client.list_objects(bucket, prefix="samples/") for info in page.object_info]
assert names == [f"samples/{n:03}" for n in range(25)]
assert client.head_object(bucket, "checkpoint.pt").size == len(body)
client.delete_object(bucket, "samples/000")
print("a checkpoint of 30 MiB in parts, 25 samples listed")
