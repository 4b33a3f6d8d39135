# lancedb: a table of vectors, an append, a search, an index, versions.
import os
import lancedb, numpy as np

bucket = os.environ["BUCKET"]
db = lancedb.connect(f"s3://{bucket}/lance", storage_options={"endpoint": os.environ["S3_ENDPOINT"], "allow_http": "true", "region": os.environ["AWS_REGION"],
    "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"]})
random = np.random.default_rng(7)
vectors = random.random((2000, 32), dtype=np.float32)
table = db.create_table("v", [{"id": n, "vector": vectors[n]} for n in range(1000)])
table.add([{"id": n, "vector": vectors[n]} for n in range(1000, 2000)])
assert table.count_rows() == 2000
assert table.search(vectors[1234]).limit(1).to_list()[0]["id"] == 1234
table.delete("id < 100")
assert table.count_rows() == 1900 and len(table.list_versions()) >= 3
assert db.open_table("v").search(vectors[500]).where("id > 400").limit(1).to_list()[0]["id"] == 500
print("2,000 vectors in two commits, searched, deleted, versions")
