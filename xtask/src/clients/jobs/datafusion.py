# DataFusion: parquet written through pyarrow-free SQL, joined and grouped from S3.
import os
import pyarrow as pa
from datafusion import SessionContext
from datafusion.object_store import AmazonS3

bucket = os.environ["BUCKET"]
store = AmazonS3(bucket_name=bucket, region=os.environ["AWS_REGION"], access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
                 secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"], endpoint=os.environ["S3_ENDPOINT"], allow_http=True)
context = SessionContext()
context.register_object_store("s3://", store, None)
batch = pa.RecordBatch.from_pydict({"id": list(range(200_000)), "kind": [n % 7 for n in range(200_000)]})
context.from_arrow(batch).write_parquet(f"s3://{bucket}/facts/")
context.register_parquet("facts", f"s3://{bucket}/facts/")
found = context.sql("SELECT kind, count(*) AS n FROM facts WHERE id >= 70000 GROUP BY kind ORDER BY kind").to_pydict()
assert found["kind"] == list(range(7)) and sum(found["n"]) == 130_000, found
print("200,000 rows written and grouped by SQL")
