//! Conditions: operators on the values of keys (IAM User Guide: "IAM JSON policy elements:
//! Condition operators", "Condition operators with multiple values").
//!
//! A key may have several values, and so may the condition. Without a set word the condition holds
//! when any value of the request fits any value given (for negated operators: when none fits).
//! `ForAllValues:` wants each value of the request to fit, `ForAnyValue:` at least one. A key that
//! the request does not have fails a condition, but not one with `IfExists` or a negated one.

use std::net::IpAddr;

use super::pattern::Pattern;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Plain,
    All,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsCaseless,
    Like,
    Numeric(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Same,
    Less,
    LessOrSame,
    More,
    MoreOrSame,
}

impl Order {
    fn holds(self, found: f64, wanted: f64) -> bool {
        match self {
            Self::Same => found == wanted,
            Self::Less => found < wanted,
            Self::LessOrSame => found <= wanted,
            Self::More => found > wanted,
            Self::MoreOrSame => found >= wanted,
        }
    }
}

/// One key of one operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    set: Set,
    operator: Operator,
    negated: bool,
    if_exists: bool,
    /// In lower case.
    key: String,
    wanted: Vec<Pattern>,
}

impl Condition {
    /// `None` for an operator that AWS does not have, or values that do not fit it.
    pub(super) fn new(operator: &str, key: &str, wanted: Vec<String>) -> Option<Self> {
        let (set, rest) = match operator.split_once(':') {
            None => (Set::Plain, operator),
            Some(("ForAllValues", rest)) => (Set::All, rest),
            Some(("ForAnyValue", rest)) => (Set::Any, rest),
            Some(_) => return None,
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (operator, negated) = operator_of(rest)?;
        let sound = |text: &String| match operator {
            Operator::Numeric(_) => text.parse::<f64>().is_ok(),
            Operator::Date(_) => seconds(text).is_some(),
            Operator::Bool | Operator::Null => {
                text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
            }
            Operator::Ip => network(text).is_some(),
            Operator::Equals | Operator::EqualsCaseless | Operator::Like => true,
        };
        if wanted.is_empty() || !wanted.iter().all(sound) || !key.contains(':') {
            return None;
        }
        let wanted = wanted.into_iter().map(Pattern::new).collect();
        Some(Self { set, operator, negated, if_exists, key: lower_name(key), wanted })
    }

    pub(super) fn holds(&self, values: &dyn Fn(&str) -> Vec<String>) -> bool {
        let found = values(&self.key);
        if self.operator == Operator::Null {
            let absent = if found.is_empty() { "true" } else { "false" };
            return self.wanted.iter().any(|wanted| wanted.fits_caseless(absent));
        }
        if found.is_empty() {
            return self.if_exists || self.negated || self.set == Set::All;
        }
        let fits = |value: &String| {
            self.wanted.iter().any(|wanted| self.fits(value, wanted.expanded(values).as_str()))
                != self.negated
        };
        match (self.set, self.negated) {
            (Set::All, _) | (Set::Plain, true) => found.iter().all(fits),
            (Set::Any, _) | (Set::Plain, false) => found.iter().any(fits),
        }
    }

    fn fits(&self, found: &str, wanted: &str) -> bool {
        match self.operator {
            Operator::Equals => found == wanted,
            Operator::EqualsCaseless => found.eq_ignore_ascii_case(wanted),
            Operator::Bool | Operator::Null => found.eq_ignore_ascii_case(wanted),
            Operator::Like => Pattern::new(wanted).fits(found),
            Operator::Numeric(order) => match (found.parse(), wanted.parse()) {
                (Ok(found), Ok(wanted)) => order.holds(found, wanted),
                _ => false,
            },
            Operator::Date(order) => match (seconds(found), seconds(wanted)) {
                (Some(found), Some(wanted)) => order.holds(found, wanted),
                _ => false,
            },
            Operator::Ip => match (found.parse::<IpAddr>(), network(wanted)) {
                (Ok(found), Some(network)) => within(found, network),
                _ => false,
            },
        }
    }

    /// Whether it ties the statement to fixed values of a key that names who asks or from where.
    pub(super) fn names_who_asks(&self) -> bool {
        let fixed =
            |pattern: &Pattern| !pattern.as_str().contains(['*', '?']) && !pattern.as_str().contains("${");
        let keys = [
            "aws:principalorgid",
            "aws:principalarn",
            "aws:sourcearn",
            "aws:sourceaccount",
            "aws:sourceowner",
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:userid",
            "aws:username",
            "s3:dataaccesspointarn",
            "s3:dataaccesspointaccount",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
        ];
        let narrow_network = self.key == "aws:sourceip"
            && self.wanted.iter().all(|wanted| network(wanted.as_str()).is_some_and(|(_, bits)| bits >= 8));
        !self.negated
            && !self.if_exists
            && (narrow_network || keys.contains(&self.key.as_str()) && self.wanted.iter().all(fixed))
    }
}

/// Keys are caseless, but what follows a `/` in them (the name of a tag) is not.
fn lower_name(key: &str) -> String {
    match key.split_once('/') {
        None => key.to_ascii_lowercase(),
        Some((name, tag)) => format!("{}/{tag}", name.to_ascii_lowercase()),
    }
}

fn operator_of(name: &str) -> Option<(Operator, bool)> {
    Some(match name {
        "StringEquals" | "BinaryEquals" => (Operator::Equals, false),
        "StringNotEquals" => (Operator::Equals, true),
        "StringEqualsIgnoreCase" => (Operator::EqualsCaseless, false),
        "StringNotEqualsIgnoreCase" => (Operator::EqualsCaseless, true),
        "StringLike" | "ArnLike" | "ArnEquals" => (Operator::Like, false),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Operator::Like, true),
        "NumericEquals" => (Operator::Numeric(Order::Same), false),
        "NumericNotEquals" => (Operator::Numeric(Order::Same), true),
        "NumericLessThan" => (Operator::Numeric(Order::Less), false),
        "NumericLessThanEquals" => (Operator::Numeric(Order::LessOrSame), false),
        "NumericGreaterThan" => (Operator::Numeric(Order::More), false),
        "NumericGreaterThanEquals" => (Operator::Numeric(Order::MoreOrSame), false),
        "DateEquals" => (Operator::Date(Order::Same), false),
        "DateNotEquals" => (Operator::Date(Order::Same), true),
        "DateLessThan" => (Operator::Date(Order::Less), false),
        "DateLessThanEquals" => (Operator::Date(Order::LessOrSame), false),
        "DateGreaterThan" => (Operator::Date(Order::More), false),
        "DateGreaterThanEquals" => (Operator::Date(Order::MoreOrSame), false),
        "Bool" => (Operator::Bool, false),
        "IpAddress" => (Operator::Ip, false),
        "NotIpAddress" => (Operator::Ip, true),
        "Null" => (Operator::Null, false),
        _ => return None,
    })
}

/// Seconds since 1970: a number, or `YYYY-MM-DD` with an optional `Thh:mm[:ss]` and `Z`.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let mut date = date.splitn(3, '-').map(|word| word.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let time = time.strip_suffix('Z').unwrap_or(time);
    let mut time = time.splitn(3, ':').map(|word| word.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next().flatten().unwrap_or(0.0));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil, with years that begin in March (H. Hinnant, "chrono-compatible date algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days as f64 * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

/// `ADDRESS` or `ADDRESS/BITS`.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
    };
    Some((address, bits))
}

fn within(address: IpAddr, (network, bits): (IpAddr, u32)) -> bool {
    let (address, network, most) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits == 0 || (address ^ network) >> (most - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::{Condition, seconds};

    fn holds(operator: &str, wanted: &[&str], found: &[&str]) -> bool {
        let wanted = wanted.iter().map(|text| (*text).to_owned()).collect();
        let condition = Condition::new(operator, "s3:K", wanted).unwrap();
        condition.holds(&|key: &str| {
            assert_eq!(key, "s3:k");
            found.iter().map(|text| (*text).to_owned()).collect()
        })
    }

    #[test]
    fn operators_compare_as_aws_says() {
        for (operator, wanted, found, expected) in [
            ("StringEquals", &["a", "b"][..], &["b"][..], true),
            ("StringEquals", &["a"], &["A"], false),
            ("StringEquals", &["a"], &[], false),
            ("StringEqualsIfExists", &["a"], &[], true),
            ("StringNotEquals", &["a"], &[], true),
            ("StringNotEquals", &["a", "b"], &["b"], false),
            ("StringEqualsIgnoreCase", &["a"], &["A"], true),
            ("StringLike", &["a*"], &["abc"], true),
            ("StringNotLike", &["a*"], &["abc"], false),
            ("NumericLessThanEquals", &["10"], &["10"], true),
            ("NumericGreaterThan", &["10"], &["10"], false),
            ("DateGreaterThan", &["2020-01-01T00:00:00Z"], &["2021-01-01"], true),
            ("Bool", &["true"], &["TRUE"], true),
            ("IpAddress", &["10.0.0.0/8"], &["10.2.3.4"], true),
            ("IpAddress", &["10.0.0.0/8"], &["11.2.3.4"], false),
            ("NotIpAddress", &["::1"], &["::1"], false),
            ("Null", &["true"], &[], true),
            ("Null", &["false"], &["x"], true),
            ("ForAllValues:StringEquals", &["a", "b"], &["a", "c"], false),
            ("ForAllValues:StringEquals", &["a", "b"], &[], true),
            ("ForAnyValue:StringEquals", &["a", "b"], &["c", "a"], true),
            ("ForAnyValue:StringEquals", &["a"], &[], false),
        ] {
            assert_eq!(holds(operator, wanted, found), expected, "{operator} {wanted:?} {found:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_condition() {
        for (operator, wanted) in
            [("StringAlmost", "a"), ("Bool", "maybe"), ("IpAddress", "10/8"), ("Some:StringEquals", "a")]
        {
            assert!(Condition::new(operator, "s3:k", vec![wanted.to_owned()]).is_none(), "{operator}");
        }
    }

    #[test]
    fn dates_are_seconds() {
        assert_eq!(seconds("1970-01-02"), Some(86_400.0));
        assert_eq!(seconds("2000-03-01T00:00:01Z"), Some(951_868_801.0));
        assert_eq!(seconds("951868801"), Some(951_868_801.0));
        assert_eq!(seconds("soon"), None);
    }
}
