# polars: small files by suffix range, lazy scans over many, writing.
import os
import polars as pl

bucket = os.environ["BUCKET"]
options = {"aws_endpoint_url": os.environ["S3_ENDPOINT"], "aws_allow_http": "true", "aws_region": os.environ["AWS_REGION"],
           "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
small = pl.DataFrame({"a": [1, 2, 3]})
small.write_parquet(f"s3://{bucket}/small.parquet", storage_options=options)
assert pl.scan_parquet(f"s3://{bucket}/small.parquet", storage_options=options).collect().equals(small)
for n in range(8):
    pl.DataFrame({"part": [n] * 50_000, "x": range(50_000)}).write_parquet(f"s3://{bucket}/parts/{n}.parquet", storage_options=options)
scan = pl.scan_parquet(f"s3://{bucket}/parts/*.parquet", storage_options=options)
found = scan.filter(pl.col("part") >= 4).group_by("part").agg(pl.col("x").sum()).sort("part").collect()
assert found["part"].to_list() == [4, 5, 6, 7] and set(found["x"].to_list()) == {sum(range(50_000))}
scan.sink_parquet(f"s3://{bucket}/all.parquet", storage_options=options)
assert pl.scan_parquet(f"s3://{bucket}/all.parquet", storage_options=options).select(pl.len()).collect().item() == 400_000
pl.DataFrame({"t": ["x", "y"]}).write_csv(f"s3://{bucket}/t.csv", storage_options=options)
assert pl.read_csv(f"s3://{bucket}/t.csv", storage_options=options).height == 2
print("a file smaller than its suffix range, 8 scanned with a filter, 400,000 rows sunk into one")
