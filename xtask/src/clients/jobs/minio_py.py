# minio-py: streams of unknown length, conditions, compose, presigned, versions, tags, lifecycle.
import io, os, urllib.request
from datetime import timedelta
from minio import Minio
from minio.commonconfig import ENABLED, ComposeSource, CopySource, Filter, Tags
from minio.deleteobjects import DeleteObject
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.versioningconfig import VersioningConfig

bucket = os.environ["BUCKET"]
try:
    client = Minio(os.environ["S3_HOST"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], secure=False, region=os.environ["AWS_REGION"])
except TypeError:
    client = Minio(endpoint=os.environ["S3_HOST"], access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"], secure=False, region=os.environ["AWS_REGION"])
body = os.urandom(12 * 1024 * 1024)
client.put_object(bucket_name=bucket, object_name="stream", data=io.BytesIO(body), length=-1, part_size=5 << 20)
response = client.get_object(bucket_name=bucket, object_name="stream")
assert response.read() == body
response.close()
ranged = client.get_object(bucket_name=bucket, object_name="stream", offset=7_000_000, length=11)
assert ranged.read() == body[7_000_000:7_000_011]
client.copy_object(bucket_name=bucket, object_name="copy", source=CopySource(bucket_name=bucket, object_name="stream"))
client.compose_object(bucket_name=bucket, object_name="composed", sources=[ComposeSource(bucket_name=bucket, object_name="stream"), ComposeSource(bucket_name=bucket, object_name="copy")])
assert client.stat_object(bucket_name=bucket, object_name="composed").size == 2 * len(body)
url = client.presigned_get_object(bucket_name=bucket, object_name="stream", expires=timedelta(minutes=1))
assert urllib.request.urlopen(url).read() == body
url = client.presigned_put_object(bucket_name=bucket, object_name="put", expires=timedelta(minutes=1))
assert urllib.request.urlopen(urllib.request.Request(url, data=b"presigned", method="PUT")).status == 200
client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
client.put_object(bucket_name=bucket, object_name="v", data=io.BytesIO(b"1"), length=1)
client.put_object(bucket_name=bucket, object_name="v", data=io.BytesIO(b"2"), length=1)
versions = [v for v in client.list_objects(bucket_name=bucket, prefix="v", include_version=True)]
assert len(versions) == 2
tags = Tags.new_object_tags()
tags["k"] = "v"
client.set_object_tags(bucket_name=bucket, object_name="v", tags=tags)
assert client.get_object_tags(bucket_name=bucket, object_name="v") == {"k": "v"}
rule = Rule(status=ENABLED, rule_filter=Filter(prefix="logs/"), rule_id="r", expiration=Expiration(days=30))
client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig([rule]))
assert client.get_bucket_lifecycle(bucket_name=bucket).rules[0].rule_id == "r"
every = [DeleteObject(o.object_name, o.version_id) for o in client.list_objects(bucket_name=bucket, recursive=True, include_version=True)]
assert list(client.remove_objects(bucket_name=bucket, delete_object_list=every)) == []
client.remove_bucket(bucket_name=bucket)
print("a stream of unknown length, compose, presigned both ways, versions, tags, lifecycle")
