//! The parameters of a form: single ones, and lists as `Name.member.N` (AWS: "Query API").

use super::Fault;
use crate::percent;

/// Members of one list that are looked at.
const MEMBERS_MAX: usize = 200;

/// Names and values, decoded.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(name), percent::decode_query(value))
        });
        Self(pairs.collect())
    }
    pub(crate) fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
    /// The first of this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
    pub(crate) fn must(&self, name: &str) -> Result<&str, Fault> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Fault::invalid(format!("The request must contain the parameter {name}.")))
    }
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, Fault> {
        let parse =
            |text: &str| text.parse().map_err(|_| Fault::invalid(format!("{name} is not a number: {text}")));
        self.text(name).map(parse).transpose()
    }
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
    /// A list of texts; `field` names what each member has, where it is more than a text.
    pub(crate) fn list(&self, name: &str, field: &str) -> Vec<String> {
        let mut found = Vec::new();
        for index in 1..=MEMBERS_MAX {
            let dot = if field.is_empty() { "" } else { "." };
            match self.text(&format!("{name}.member.{index}{dot}{field}")) {
                Some(value) => found.push(value.to_owned()),
                None => break,
            }
        }
        found
    }
    pub(crate) fn tags(&self) -> Vec<(String, String)> {
        let mut values = self.list("Tags", "Value").into_iter();
        self.list("Tags", "Key").into_iter().map(|key| (key, values.next().unwrap_or_default())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn single_values_lists_and_tags_are_found() {
        let params = Params::read(
            b"Action=X&Path=%2Fa%2F&N=5&A.member.1=x&A.member.2=y&A.member.4=z&Tags.member.1.Key=k&Tags.member.1.Value=v+w",
        );
        assert_eq!((params.text("Path"), params.text("No")), (Some("/a/"), None));
        assert_eq!(params.list("A", ""), ["x", "y"]);
        assert_eq!(params.tags(), [("k".to_owned(), "v w".to_owned())]);
        assert_eq!(params.number("N").unwrap(), Some(5));
        assert!(params.number("Action").is_err() && params.must("No").is_err());
    }
}
