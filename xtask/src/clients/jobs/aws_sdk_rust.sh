# aws-sdk-rust: the example of this repository.
AWS_ENDPOINT_URL="$S3_ENDPOINT" "$PROGRAM"
