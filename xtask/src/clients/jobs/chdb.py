# chdb (ClickHouse): inserts into and selects from S3, with globs.
import os
import chdb

bucket, endpoint = os.environ["BUCKET"], os.environ["S3_ENDPOINT"]
keys = f"'{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
for n in range(3):
    chdb.query(f"INSERT INTO FUNCTION s3('{endpoint}/{bucket}/t/{n}.parquet', {keys}, 'Parquet') SELECT number AS id, {n} AS part FROM numbers(100000)")
out = chdb.query(f"SELECT count(), sum(id), uniq(part) FROM s3('{endpoint}/{bucket}/t/*.parquet', {keys}, 'Parquet')", "CSV")
assert str(out).strip() == f"300000,{3 * sum(range(100000))},3", str(out)
out = chdb.query(f"SELECT count() FROM s3('{endpoint}/{bucket}/t/1.parquet', {keys}, 'Parquet') WHERE id < 10", "CSV")
assert str(out).strip() == "10"
print("three inserts of 100,000 rows, selected by a glob and a filter")
