//! Patterns with `*` and `?`, and the variables that may stand in them.

use std::borrow::Cow;

/// A text in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes(), |a, b| a == b)
    }

    pub(super) fn fits_caseless(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes(), |a, b| a.eq_ignore_ascii_case(&b))
    }

    /// With `${key}` replaced by the one value of that key; one without a value is left and then
    /// fits nothing. A value's own `*` is taken as a pattern, which only makes `*` in names of users
    /// (which they cannot have) wide.
    pub(super) fn expanded(&self, values: &dyn Fn(&str) -> Vec<String>) -> Cow<'_, Self> {
        if !self.0.contains("${") {
            return Cow::Borrowed(self);
        }
        let mut out = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((key, tail)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                continue;
            };
            match (key, values(&key.to_ascii_lowercase()).as_slice()) {
                ("*" | "?" | "$", _) => out.push_str(key),
                (_, [value]) => out.push_str(value),
                _ => {
                    out.push_str("${");
                    out.push_str(key);
                    out.push('}');
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        Cow::Owned(Self(out))
    }
}

/// The usual two-pointer match: on a mismatch go back to the last `*` and let it take one more.
fn fits(pattern: &[u8], text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(&byte) if byte == b'?' || same(byte, text[in_text]) => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("**", "x", true),
            ("bucket/*", "bucket/a/b", true),
            ("bucket/*", "bucket", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
        assert!(Pattern::new("S3:get*").fits_caseless("s3:GetObject"));
    }

    #[test]
    fn variables_take_the_one_value_of_their_key() {
        let values = |key: &str| if key == "aws:username" { vec!["ann".to_owned()] } else { Vec::new() };
        let expand = |text: &str| Pattern::new(text).expanded(&values).as_str().to_owned();
        assert_eq!(expand("home/${aws:username}/x"), "home/ann/x");
        assert_eq!(expand("${aws:Other}/${"), "${aws:Other}/${");
    }
}
