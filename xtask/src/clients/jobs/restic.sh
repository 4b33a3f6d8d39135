# restic: two backups, forget with prune, a full check of every byte, restore.
export RESTIC_REPOSITORY="s3:$S3_ENDPOINT/$BUCKET/repository" RESTIC_PASSWORD=test RESTIC_CACHE_DIR="$WORK/cache"
mkdir -p tree/a && head -c 20000000 /dev/urandom > tree/large.bin
for n in 1 2 3 4 5 6 7 8 9; do head -c $((n * 30000)) /dev/urandom > "tree/a/$n"; done
restic --quiet init
restic --quiet backup tree
rm tree/large.bin && echo more > tree/a/10
restic --quiet backup tree
restic --quiet forget --keep-last 1 --prune
restic --quiet check --read-data
restic --quiet restore latest --target out
diff -r tree "out/tree" 2>/dev/null || diff -r tree "out$WORK/tree"
echo "two backups, forget and prune, every byte checked, restored"
