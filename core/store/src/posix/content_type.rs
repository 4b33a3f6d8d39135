//! Content types by extension, for files that S3 clients get: those that browsers, data tools and
//! shells meet. Anything else has none, and S3 says `application/octet-stream`.

/// Lower-case extension and type, in order of extension.
const TYPES: [(&str, &str); 62] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("avif", "image/avif"),
    ("avro", "application/vnd.apache.avro"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("c", "text/x-c"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("h", "text/x-c"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", "text/plain"),
    ("m4a", "audio/mp4"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("mkv", "video/matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ogg", "audio/ogg"),
    ("orc", "application/vnd.apache.orc"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("py", "text/x-python"),
    ("rs", "text/x-rust"),
    ("rtf", "application/rtf"),
    ("sh", "application/x-sh"),
    ("sql", "application/sql"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The type of a file of this name.
pub(super) fn of_name(name: &[u8]) -> Option<&'static str> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    let extension = std::str::from_utf8(&name[dot + 1..]).ok()?.to_ascii_lowercase();
    let at = TYPES.binary_search_by_key(&extension.as_str(), |(extension, _)| extension).ok()?;
    Some(TYPES[at].1)
}

#[cfg(test)]
mod tests {
    use super::{TYPES, of_name};

    #[test]
    fn types_are_found_by_the_last_extension() {
        assert!(TYPES.is_sorted_by_key(|(extension, _)| *extension));
        assert_eq!(of_name(b"a.tar.GZ"), Some("application/gzip"));
        assert_eq!(of_name(b"part-0.parquet"), Some("application/vnd.apache.parquet"));
        assert_eq!(of_name(b".json"), None, "a hidden file without an extension");
        assert_eq!(of_name(b"json"), None);
        assert_eq!(of_name(b"a.unheard-of"), None);
        assert_eq!(of_name(b"a."), None);
        assert_eq!(of_name(b"\xff.zip"), Some("application/zip"));
    }
}
