//! Licences that may not meet in one child.
//!
//! A child is under the licences of all its parents at once. What a parent declares is an SPDX expression;
//! of it this much is read: `A OR B` may be taken as either, `A AND B` is both, and anything else, brackets
//! and exceptions included, is one licence of that whole name. Nobody is asked what a licence says: a plan
//! lists names, and what it does not know it refuses if it is told to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a plan demands of its children's licences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// If given, every parent must be available under one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Licences that may not all meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<Vec<String>>,
    /// Whether a parent that declares no licence is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refuse_undeclared: bool,
}

/// The ways an expression may be taken, each a set of licences that hold together.
fn ways(expression: &str) -> Vec<BTreeSet<&str>> {
    if expression.contains(['(', ')']) {
        return vec![BTreeSet::from([expression])];
    }
    expression.split(" OR ").map(|way| way.split(" AND ").map(str::trim).collect()).collect()
}

impl Policy {
    /// Every way in which these parents, each with what it declares, offend. Sentences.
    pub fn offences(&self, parents: &[(&str, &[String])]) -> Vec<String> {
        let mut found = Vec::new();
        let mut declared: Vec<(&str, &str)> = Vec::new();
        for (parent, licences) in parents {
            if licences.is_empty() && (self.refuse_undeclared || self.allow.is_some()) {
                found.push(format!("`{parent}` declares no licence"));
            }
            declared.extend(licences.iter().map(|licence| (*parent, licence.as_str())));
        }
        if let Some(allow) = &self.allow {
            let allowed = |way: &BTreeSet<&str>| way.iter().all(|one| allow.iter().any(|known| known == one));
            let whole = |licence: &str| allow.iter().any(|known| known == licence);
            for (parent, licence) in &declared {
                if !whole(licence) && !ways(licence).iter().any(allowed) {
                    found.push(format!("`{parent}` is under {licence:?}, which the plan does not allow"));
                }
            }
        }
        for together in &self.forbid {
            // A licence is met if no way around it is left.
            let met = |wanted: &String| {
                declared.iter().find(|(_, licence)| {
                    *licence == wanted.as_str()
                        || ways(licence).iter().all(|way| way.contains(wanted.as_str()))
                })
            };
            let all: Option<Vec<_>> = together.iter().map(met).collect();
            if let Some(all) = all.filter(|all| !all.is_empty()) {
                let who: Vec<String> = together
                    .iter()
                    .zip(all)
                    .map(|(name, (parent, _))| format!("{name} (`{parent}`)"))
                    .collect();
                found.push(format!("the plan forbids that {} meet in one child", who.join(" and ")));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(policy: &Policy, parents: &[(&str, &[&str])]) -> Vec<String> {
        let owned: Vec<(&str, Vec<String>)> = parents
            .iter()
            .map(|(name, all)| (*name, all.iter().map(|it| (*it).to_owned()).collect()))
            .collect();
        let borrowed: Vec<(&str, &[String])> = owned.iter().map(|(name, all)| (*name, &all[..])).collect();
        policy.offences(&borrowed)
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_forbidden_together_is_allowed_apart() {
        let policy = Policy { forbid: vec![list(&["GPL-2.0-only", "Apache-2.0"])], ..Policy::default() };
        assert_eq!(offences(&policy, &[("a", &["GPL-2.0-only"]), ("b", &["MIT"])]), Vec::<String>::new());
        let both = offences(&policy, &[("a", &["GPL-2.0-only"]), ("b", &["Apache-2.0"])]);
        assert_eq!(both, ["the plan forbids that GPL-2.0-only (`a`) and Apache-2.0 (`b`) meet in one child"]);
        // Either may be chosen, so there is a way around it; both at once leave none.
        assert_eq!(
            offences(&policy, &[("a", &["GPL-2.0-only"]), ("b", &["MIT OR Apache-2.0"])]),
            Vec::<String>::new()
        );
        assert_eq!(offences(&policy, &[("a", &["GPL-2.0-only AND MIT"]), ("b", &["Apache-2.0"])]).len(), 1);
        // A parent bred of both has both.
        assert_eq!(offences(&policy, &[("a", &["Apache-2.0", "GPL-2.0-only"])]).len(), 1);
    }

    #[test]
    fn what_is_not_allowed_or_not_known_is_refused() {
        let policy = Policy { allow: Some(list(&["MIT", "Apache-2.0"])), ..Policy::default() };
        assert_eq!(offences(&policy, &[("a", &["MIT OR GPL-3.0-only"])]), Vec::<String>::new());
        assert_eq!(offences(&policy, &[("a", &["MIT AND GPL-3.0-only"])]).len(), 1);
        assert_eq!(offences(&policy, &[("a", &["(MIT)"])]).len(), 1, "what is not read is not guessed");
        assert_eq!(offences(&policy, &[("a", &[])]), ["`a` declares no licence"]);
        assert_eq!(offences(&Policy::default(), &[("a", &[])]), Vec::<String>::new());
        let strict = Policy { refuse_undeclared: true, ..Policy::default() };
        assert_eq!(offences(&strict, &[("a", &[]), ("b", &["MIT"])]), ["`a` declares no licence"]);
    }
}
