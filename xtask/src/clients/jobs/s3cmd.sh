# s3cmd: put, get, sync, ls, info, del, signed URL; lists by version 1.
cat > s3cfg <<END
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = $S3_HOST
host_bucket = $S3_HOST
use_https = False
signature_v2 = False
bucket_location = $AWS_REGION
END
s3() { s3cmd --config s3cfg --no-progress --quiet "$@"; }
head -c 20000000 /dev/urandom > large.bin
mkdir -p tree/sub && for n in 1 2 3; do head -c $((n * 999)) /dev/urandom > "tree/sub/$n.bin"; done
s3 put --multipart-chunk-size-mb=5 large.bin "s3://$BUCKET/large.bin"
s3 get "s3://$BUCKET/large.bin" back.bin && cmp large.bin back.bin
s3 sync tree/ "s3://$BUCKET/tree/"
mkdir again && s3 sync "s3://$BUCKET/tree/" again/ && diff -r tree again
test "$(s3cmd --config s3cfg ls --recursive "s3://$BUCKET/" | wc -l)" = 4
s3cmd --config s3cfg info "s3://$BUCKET/large.bin" | grep -q 'File size: *20000000'
s3 cp "s3://$BUCKET/tree/sub/1.bin" "s3://$BUCKET/copied.bin"
s3 mv "s3://$BUCKET/copied.bin" "s3://$BUCKET/moved.bin"
s3 get "s3://$BUCKET/moved.bin" moved.bin && cmp moved.bin tree/sub/1.bin
s3 del --recursive --force "s3://$BUCKET/"
s3 rb "s3://$BUCKET"
echo "20 MB in parts, synced a tree both ways, copied, moved, listed, deleted"
