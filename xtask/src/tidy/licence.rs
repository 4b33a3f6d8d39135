//! SPDX expressions as far as `Cargo.toml` files use them: `A OR B`, `A AND B`, `A WITH e`, the old
//! `A/B`, and parentheses.

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages without an SPDX expression whose licence file was read.
const READ_BY_HAND: &[&str] = &["ring"];

/// Whether the expression can be satisfied with allowed licences only.
pub fn is_allowed(expression: &str, package: &str) -> bool {
    if expression.is_empty() {
        return READ_BY_HAND.contains(&package);
    }
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&tokens, &mut at)
}

fn either(tokens: &[&str], at: &mut usize) -> bool {
    let mut allowed = both(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= both(tokens, at);
    }
    allowed
}

fn both(tokens: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(tokens, at);
    }
    allowed
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let allowed = either(tokens, at);
        *at += 1;
        return allowed;
    }
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    ALLOWED.contains(token)
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        for (expression, allowed) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("Apache-2.0 OR GPL-3.0-only", true),
            ("Apache-2.0 AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("GPL-3.0 WITH Classpath-exception-2.0", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, "some-package"), allowed, "{expression}");
        }
    }
}
