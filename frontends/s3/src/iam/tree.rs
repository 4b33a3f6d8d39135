//! Answers as trees, printed as AWS's XML or as JSON.

use serde_json::{Map, Value};

use super::encode_all;
use crate::refusal::escape;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Text(String),
    Number(u64),
    Flag(bool),
    /// A policy: percent-encoded in XML, as AWS prints it.
    Document(String),
    Map(Vec<(&'static str, Self)>),
    /// `<member>` for each.
    List(Vec<Self>),
    /// `<entry><key/><value/></entry>` for each.
    Entries(Vec<(&'static str, u64)>),
}

impl Node {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
    pub(crate) fn none() -> Self {
        Self::Map(Vec::new())
    }
    pub(crate) fn one(name: &'static str, node: Self) -> Self {
        Self::Map(vec![(name, node)])
    }

    fn xml(&self, out: &mut String) {
        let mut element = |name: &str, node: &Self| {
            out.push_str(&format!("<{name}>"));
            node.xml(out);
            out.push_str(&format!("</{name}>"));
        };
        match self {
            Self::Map(fields) => fields.iter().for_each(|(name, node)| element(name, node)),
            Self::List(members) => members.iter().for_each(|node| element("member", node)),
            Self::Entries(entries) => {
                for (key, value) in entries {
                    let entry = Self::Map(vec![("key", Self::text(*key)), ("value", Self::Number(*value))]);
                    element("entry", &entry);
                }
            }
            Self::Text(text) => out.push_str(&escape(text)),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Flag(flag) => out.push_str(&flag.to_string()),
            Self::Document(text) => out.push_str(&encode_all(text)),
        }
    }

    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Map(fields) => {
                let fields = fields.iter().map(|(name, node)| ((*name).to_owned(), node.json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Self::List(members) => members.iter().map(Self::json).collect(),
            Self::Entries(entries) => {
                let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            // Every policy that is kept was read as JSON.
            Self::Document(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        }
    }
}

/// The whole document of an answer.
pub(crate) fn answer(namespace: &str, action: &str, node: &Node, request_id: &str) -> String {
    let mut out = format!("<{action}Response xmlns=\"{namespace}\">");
    // What answers nothing has no result (AWS).
    if *node != Node::none() {
        out.push_str(&format!("<{action}Result>"));
        node.xml(&mut out);
        out.push_str(&format!("</{action}Result>"));
    }
    out.push_str(&format!(
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::{Node, answer};

    #[test]
    fn trees_print_as_xml_and_as_json() {
        let node = Node::Map(vec![
            ("Names", Node::List(vec![Node::text("a<b"), Node::text("c")])),
            ("Policy", Node::Document("{\"a\":\"b/c\"}".to_owned())),
            ("IsTruncated", Node::Flag(false)),
            ("Sum", Node::Entries(vec![("Users", 3)])),
        ]);
        assert_eq!(
            answer("n", "Get", &node, "R"),
            "<GetResponse xmlns=\"n\"><GetResult><Names><member>a&lt;b</member><member>c</member></Names>\
             <Policy>%7B%22a%22%3A%22b%2Fc%22%7D</Policy><IsTruncated>false</IsTruncated>\
             <Sum><entry><key>Users</key><value>3</value></entry></Sum></GetResult>\
             <ResponseMetadata><RequestId>R</RequestId></ResponseMetadata></GetResponse>"
        );
        assert_eq!(
            node.json().to_string(),
            r#"{"IsTruncated":false,"Names":["a<b","c"],"Policy":{"a":"b/c"},"Sum":{"Users":3}}"#
        );
        assert!(!answer("n", "Put", &Node::none(), "R").contains("PutResult"));
    }
}
