# boto3: multipart with parallel parts, versions, conditions, batch delete, policy, presigned POST.
import hashlib, io, json, os, urllib.request
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

bucket = os.environ["BUCKET"]
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=Config(s3={"addressing_style": "path"}))

def fails(code, act, **args):
    try:
        act(**args)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        return
    raise AssertionError(f"{code} was expected")

body = os.urandom(23 * 1024 * 1024 + 17)
config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
s3.upload_fileobj(io.BytesIO(body), bucket, "large", Config=config, ExtraArgs={"Metadata": {"who": "boto3"}})
out = io.BytesIO()
s3.download_fileobj(bucket, "large", out, Config=config)
assert hashlib.sha256(out.getvalue()).digest() == hashlib.sha256(body).digest()
head = s3.head_object(Bucket=bucket, Key="large")
assert head["ContentLength"] == len(body) and head["Metadata"] == {"who": "boto3"} and head["ETag"].endswith('-5"')
part = s3.get_object(Bucket=bucket, Key="large", PartNumber=2)
assert part["Body"].read() == body[5 << 20 : 10 << 20] and part["PartsCount"] == 5
assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=-10")["Body"].read() == body[-10:]
attributes = s3.get_object_attributes(Bucket=bucket, Key="large", ObjectAttributes=["ObjectParts", "ObjectSize"])
assert attributes["ObjectParts"]["TotalPartsCount"] == 5

s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
first = s3.put_object(Bucket=bucket, Key="v", Body=b"one")["VersionId"]
second = s3.put_object(Bucket=bucket, Key="v", Body=b"two", IfMatch=s3.head_object(Bucket=bucket, Key="v")["ETag"])
assert s3.get_object(Bucket=bucket, Key="v", VersionId=first)["Body"].read() == b"one"
fails("PreconditionFailed", s3.put_object, Bucket=bucket, Key="v", Body=b"x", IfNoneMatch="*")
s3.delete_object(Bucket=bucket, Key="v")
fails("NoSuchKey", s3.get_object, Bucket=bucket, Key="v")
versions = s3.list_object_versions(Bucket=bucket, Prefix="v")
assert len(versions["Versions"]) == 2 and len(versions["DeleteMarkers"]) == 1
s3.delete_object(Bucket=bucket, Key="v", VersionId=versions["DeleteMarkers"][0]["VersionId"])
assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"two"

for n in range(1200):
    s3.put_object(Bucket=bucket, Key=f"many/{n:05}", Body=b"")
keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/") for o in page["Contents"]]
assert keys == sorted(keys) and len(keys) == 1200
prefixes = s3.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"]
assert prefixes == [{"Prefix": "many/"}]
deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[:1000]]})
assert len(deleted["Deleted"]) == 1000 and "Errors" not in deleted

post = s3.generate_presigned_post(bucket, "form/${filename}", Conditions=[["content-length-range", 1, 100]], ExpiresIn=60)
boundary = "xxBOUNDARYxx"
fields = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in post["fields"].items())
data = (fields + f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nposted\r\n--{boundary}--\r\n').encode()
request = urllib.request.Request(post["url"], data, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
assert urllib.request.urlopen(request).status == 204
assert s3.get_object(Bucket=bucket, Key="form/f.txt")["Body"].read() == b"posted"
fails("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"})
assert s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == len(body)
print("23 MiB in parts, versions, conditions, 1,200 keys listed and deleted, a form, a copy")
