# s5cmd: many files at once, ranges in parallel, wildcards, batch delete.
s5() { s5cmd --endpoint-url "$S3_ENDPOINT" --log error "$@"; }
head -c 40000000 /dev/urandom > large.bin
mkdir many && n=0 && while [ $n -lt 300 ]; do echo "file $n" > "many/$n.txt"; n=$((n + 1)); done
s5 cp --part-size 5 large.bin "s3://$BUCKET/large.bin"
s5 cp --concurrency 8 "s3://$BUCKET/large.bin" back.bin && cmp large.bin back.bin
s5 cp 'many/*' "s3://$BUCKET/many/"
mkdir again && s5 cp "s3://$BUCKET/many/*" again/ && diff -r many again
test "$(s5cmd --endpoint-url "$S3_ENDPOINT" ls "s3://$BUCKET/many/1*" | wc -l)" = 111
s5 sync many/ "s3://$BUCKET/synced/"
test "$(s5cmd --endpoint-url "$S3_ENDPOINT" --json du "s3://$BUCKET/synced/*" | grep -c '"count":300')" = 1
s5 rm "s3://$BUCKET/*"
test -z "$(s5cmd --endpoint-url "$S3_ENDPOINT" ls "s3://$BUCKET/" 2>/dev/null)"
echo "40 MB in parts, 300 files up, down and synced, wildcards, batch delete"
