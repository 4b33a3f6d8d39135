//! Which contexts a query means (spec, "Metadata querying").
//!
//! A query is `namespace:leaf`. The exact name of a context means that context. A query that ends in
//! a colon (`base:`, `x-cess:`, `x-cess:dirty:`) means, in a list, every context whose name begins so,
//! and selects nothing. What means nothing here is ignored; only what has no namespace is an error.

use crate::export::Context;

/// A query without a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query begins with a namespace and a colon")]
pub struct NoNamespace;

/// The contexts to list; all of them when nothing in particular was asked for.
///
/// # Errors
/// [`NoNamespace`].
pub fn listed<'a>(contexts: &'a [Context], queries: &[String]) -> Result<Vec<&'a Context>, NoNamespace> {
    check(queries)?;
    let means = |query: &String, name: &str| query == name || query.ends_with(':') && name.starts_with(query);
    let wanted =
        |context: &&Context| queries.is_empty() || queries.iter().any(|query| means(query, &context.name()));
    Ok(contexts.iter().filter(wanted).collect())
}

/// The contexts selected, with ids that are theirs on this export.
///
/// # Errors
/// [`NoNamespace`].
pub fn selected(contexts: &[Context], queries: &[String]) -> Result<Vec<(u32, Context)>, NoNamespace> {
    check(queries)?;
    let wanted = |(_, context): &(u32, &Context)| queries.contains(&context.name());
    Ok((1..).zip(contexts).filter(wanted).map(|(id, context)| (id, context.clone())).collect())
}

fn check(queries: &[String]) -> Result<(), NoNamespace> {
    let has_namespace = |query: &String| query.find(':').is_some_and(|at| at > 0);
    if queries.iter().all(has_namespace) { Ok(()) } else { Err(NoNamespace) }
}

#[cfg(test)]
mod tests {
    use super::{NoNamespace, listed, selected};
    use crate::export::{Context, ContextName};

    fn contexts() -> Vec<Context> {
        vec![
            Context::Allocation,
            Context::Dirty(ContextName::new("dirty:a").unwrap()),
            Context::Dirty(ContextName::new("dirty:b").unwrap()),
        ]
    }
    fn list(queries: &[&str]) -> Vec<String> {
        let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
        listed(&contexts(), &queries).unwrap().iter().map(|context| context.name()).collect()
    }
    fn select(queries: &[&str]) -> Vec<u32> {
        let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
        selected(&contexts(), &queries).unwrap().iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn lists_know_wildcards() {
        assert_eq!(list(&[]).len(), 3);
        assert_eq!(list(&["base:"]), ["base:allocation"]);
        assert_eq!(list(&["x-cess:", "base:"]).len(), 3);
        assert_eq!(list(&["x-cess:dirty:"]).len(), 2);
        assert_eq!(list(&["x-cess:dirty:b"]), ["x-cess:dirty:b"]);
        assert!(list(&["qemu:", "base:other", "x-cess:dirt"]).is_empty());
    }

    #[test]
    fn selections_know_none_and_select_each_context_once() {
        assert!(select(&[]).is_empty() && select(&["base:"]).is_empty() && select(&["x-cess:"]).is_empty());
        assert_eq!(select(&["x-cess:dirty:b", "base:allocation", "base:allocation", "qemu:x"]), [1, 3]);
    }

    #[test]
    fn a_query_has_a_namespace() {
        for query in ["allocation", "", ":leaf"] {
            assert_eq!(listed(&contexts(), &[query.to_owned()]), Err(NoNamespace), "{query:?}");
        }
    }
}
