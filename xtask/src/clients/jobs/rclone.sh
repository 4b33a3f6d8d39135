# rclone: copy, check by checksum, sync with changes, move, mount-free cat, purge.
export RCLONE_CONFIG_X_TYPE=s3 RCLONE_CONFIG_X_PROVIDER=Other RCLONE_CONFIG_X_ENV_AUTH=true
export RCLONE_CONFIG_X_ENDPOINT="$S3_ENDPOINT" RCLONE_CONFIG_X_REGION="$AWS_REGION" RCLONE_CONFIG_X_FORCE_PATH_STYLE=true
rc() { env -u AWS_CA_BUNDLE rclone --config /dev/null --retries 1 --low-level-retries 1 "$@"; }
mkdir -p tree/deep/er && head -c 25000000 /dev/urandom > tree/large.bin && : > tree/empty
for n in 1 2 3 4 5; do head -c $((n * 5000)) /dev/urandom > "tree/deep/er/$n"; done
rc copy tree "X:$BUCKET/tree" --s3-upload-cutoff 5M --s3-chunk-size 5M
rc check tree "X:$BUCKET/tree"
rc copy "X:$BUCKET/tree" again && diff -r tree again
echo changed > tree/deep/er/3 && rm tree/deep/er/4
rc sync tree "X:$BUCKET/tree" && rc check --download tree "X:$BUCKET/tree"
test "$(rc lsf -R --files-only "X:$BUCKET/tree" | wc -l)" = 6
test "$(rc cat "X:$BUCKET/tree/deep/er/3")" = changed
rc moveto "X:$BUCKET/tree/large.bin" "X:$BUCKET/elsewhere.bin"
rc size --json "X:$BUCKET" | grep -q '"count":6'
rc purge "X:$BUCKET"
echo "copied and checked a tree both ways, synced changes, moved, purged"
