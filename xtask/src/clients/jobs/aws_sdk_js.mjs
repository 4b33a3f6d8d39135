// aws-sdk-js v3: parts in parallel, conditions, paginators, batch delete, streams.
import { S3Client, PutObjectCommand, GetObjectCommand, DeleteObjectsCommand, HeadObjectCommand, paginateListObjectsV2 } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import assert from "node:assert";
import crypto from "node:crypto";

const Bucket = process.env.BUCKET;
const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true });
const body = crypto.randomBytes(17 * 1024 * 1024 + 3);
await new Upload({ client: s3, params: { Bucket, Key: "large", Body: body }, partSize: 5 << 20, queueSize: 4 }).done();
const got = await s3.send(new GetObjectCommand({ Bucket, Key: "large" }));
assert(Buffer.from(await got.Body.transformToByteArray()).equals(body));
const range = await s3.send(new GetObjectCommand({ Bucket, Key: "large", Range: "bytes=6000000-6000009" }));
assert(Buffer.from(await range.Body.transformToByteArray()).equals(body.subarray(6000000, 6000010)));
await s3.send(new PutObjectCommand({ Bucket, Key: "once", Body: "1", IfNoneMatch: "*" }));
await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: "once", Body: "2", IfNoneMatch: "*" })), { name: "PreconditionFailed" });
await assert.rejects(s3.send(new HeadObjectCommand({ Bucket, Key: "nothing" })), { name: "NotFound" });
await Promise.all([...Array(200).keys()].map((n) => s3.send(new PutObjectCommand({ Bucket, Key: `many/${n}`, Body: `${n}` }))));
const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 37 }, { Bucket, Prefix: "many/" })) keys.push(...page.Contents.map((o) => o.Key));
assert.equal(keys.length, 200);
const deleted = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
assert.equal(deleted.Deleted.length, 200);
console.log("17 MiB in parts, ranges, conditions, 200 keys listed by pages and deleted at once");
