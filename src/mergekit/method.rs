//! The field's merge methods, and which operator each of them is.
//!
//! A line of [`METHODS`] is a method that is here: the operator by its name, how the base takes part,
//! how many models, the parameters with the field's own defaults, and what the method fixes.

use crate::operator::{Value, find};

/// A merge method.
#[derive(Debug)]
pub struct Method {
    /// What configurations call it.
    pub name: &'static str,
    /// The operator that it is.
    pub operator: &'static str,
    /// If this parameter is set anywhere, the method is this other operator.
    pub instead: Option<(&'static str, &'static str)>,
    /// What the base model does.
    pub base: Base,
    /// Fewest and most models besides a base that is one ([`Base::is_apart`]).
    pub models: (usize, usize),
    /// Its parameters.
    pub takes: &'static [Takes],
    /// Words the operator is always given.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Parameters the field's tool knows for it that change nothing.
    pub idle: &'static [&'static str],
}

impl Method {
    /// Whether a parameter is one for all models.
    pub fn is_shared(&self, name: &str) -> bool {
        self.is_instead(name)
            || self.takes.iter().any(|takes| takes.name == name && takes.scope == Scope::Whole)
    }

    /// Whether a parameter is on or off.
    pub fn is_flag(&self, name: &str) -> bool {
        let is_flag = |takes: &Takes| takes.name == name && matches!(takes.default, Default::Flag(_));
        self.is_instead(name) || self.takes.iter().any(is_flag)
    }

    /// Whether it makes another operator of the method.
    pub fn is_instead(&self, name: &str) -> bool {
        self.instead.is_some_and(|(parameter, _)| parameter == name)
    }
}

/// What the base model does in a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing special: it is one more model.
    Model,
    /// Differences are taken from it; there must be one.
    Origin,
    /// Differences are taken from it if there is one.
    MaybeOrigin,
    /// It is the end where `t` is zero; there must be one.
    Start,
}

impl Base {
    /// Whether the base does not count as one of the models.
    pub fn is_apart(self) -> bool {
        self != Self::Model
    }

    /// Whether there must be one.
    pub fn is_required(self) -> bool {
        matches!(self, Self::Origin | Self::Start)
    }
}

/// A parameter of a method.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// Its name, the same in the operator.
    pub name: &'static str,
    /// Whose it is.
    pub scope: Scope,
    /// Its value when nothing is said.
    pub default: Default,
}

/// Whose a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One value for all models.
    Whole,
    /// One for each model, the base apart.
    Each,
}

/// A value when nothing is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// Something must be said.
    Required,
    /// On or off.
    Flag(bool),
    /// A number.
    Number(f64),
}

const fn whole(name: &'static str, default: Default) -> Takes {
    Takes { name, scope: Scope::Whole, default }
}

const fn each(name: &'static str, default: Default) -> Takes {
    Takes { name, scope: Scope::Each, default }
}

const OFF: Default = Default::Flag(false);
const ON: Default = Default::Flag(true);
const WEIGHT: Takes = each("weight", Default::Required);
const DENSITY: Takes = each("density", Default::Number(1.0));
const GAMMA: Takes = each("gamma", Default::Number(0.01));
const EPSILON: Takes = each("epsilon", Default::Number(0.15));
const LAMBDA: Takes = whole("lambda", Default::Number(1.0));
const RAM_EPSILON: Takes = whole("epsilon", Default::Number(1e-5));
/// Asks for less memory where masks are made; there are none here. People write it under any method.
const MASK: &str = "int8_mask";
const ANY: (usize, usize) = (1, usize::MAX);

/// A method on differences from a base.
const fn differences(
    name: &'static str,
    operator: &'static str,
    takes: &'static [Takes],
    elect: &'static [(&'static str, &'static str)],
) -> Method {
    Method { fixed: elect, ..plain(name, operator, Base::Origin, ANY, takes) }
}

/// A method with few parameters.
const fn plain(
    name: &'static str,
    operator: &'static str,
    base: Base,
    models: (usize, usize),
    takes: &'static [Takes],
) -> Method {
    Method { name, operator, instead: None, base, models, takes, fixed: &[], idle: &[MASK] }
}

const SUM: &[(&str, &str)] = &[("elect", "sum")];
const NONE: &[(&str, &str)] = &[("elect", "none")];

/// The methods that are here.
pub static METHODS: &[Method] = &[
    plain("linear", "blend", Base::Model, ANY, &[WEIGHT, whole("normalize", ON)]),
    plain("slerp", "slerp", Base::Start, (1, 1), &[whole("t", Default::Required)]),
    plain(
        "nuslerp",
        "nuslerp",
        Base::MaybeOrigin,
        (2, 2),
        &[WEIGHT, whole("nuslerp_flatten", ON), whole("nuslerp_row_wise", OFF)],
    ),
    plain(
        "multislerp",
        "multislerp",
        Base::MaybeOrigin,
        (2, usize::MAX),
        &[WEIGHT, whole("normalize_weights", ON), whole("eps", Default::Number(1e-8))],
    ),
    plain("nearswap", "nearswap", Base::Start, (1, 1), &[whole("t", Default::Required)]),
    plain("model_stock", "model_stock", Base::Origin, (2, usize::MAX), &[whole("filter_wise", OFF)]),
    plain(
        "karcher",
        "karcher",
        Base::Model,
        (2, usize::MAX),
        &[whole("max_iter", Default::Number(10.0)), whole("tol", Default::Number(1e-5))],
    ),
    differences("sce", "sce", &[whole("select_topk", Default::Number(1.0))], &[]),
    plain("arcee_fusion", "arcee_fusion", Base::Origin, (1, 1), &[]),
    plain("ram", "ram", Base::Origin, ANY, &[RAM_EPSILON]),
    plain(
        "ramplus_tl",
        "ram",
        Base::Origin,
        ANY,
        &[RAM_EPSILON, whole("r", Default::Number(0.1)), whole("alpha", Default::Number(0.2))],
    ),
    plain("passthrough", "passthrough", Base::Model, (1, 1), &[each("scale", Default::Number(1.0))]),
    Method {
        idle: &[MASK, "density", "rescale"],
        ..differences("task_arithmetic", "task_delta", &[WEIGHT, whole("normalize", OFF), LAMBDA], &[])
    },
    Method {
        instead: Some(("rescale", "sparse_task_delta")),
        ..differences("ties", "sign_merge", &[WEIGHT, DENSITY, whole("normalize", ON), LAMBDA], SUM)
    },
    differences(
        "dare_ties",
        "dare",
        &[WEIGHT, DENSITY, whole("normalize", OFF), LAMBDA, whole("rescale", ON)],
        SUM,
    ),
    differences(
        "dare_linear",
        "dare",
        &[WEIGHT, DENSITY, whole("normalize", OFF), LAMBDA, whole("rescale", ON)],
        NONE,
    ),
    differences(
        "breadcrumbs",
        "sparse_task_delta",
        &[WEIGHT, DENSITY, GAMMA, whole("normalize", OFF), LAMBDA, whole("rescale", OFF)],
        NONE,
    ),
    differences(
        "breadcrumbs_ties",
        "sparse_task_delta",
        &[WEIGHT, DENSITY, GAMMA, whole("normalize", OFF), LAMBDA, whole("rescale", OFF)],
        SUM,
    ),
    differences(
        "della",
        "della",
        &[WEIGHT, DENSITY, EPSILON, whole("normalize", ON), LAMBDA, whole("rescale", ON)],
        SUM,
    ),
    differences(
        "della_linear",
        "della",
        &[WEIGHT, DENSITY, EPSILON, whole("normalize", OFF), LAMBDA, whole("rescale", ON)],
        NONE,
    ),
];

/// For whoever looks for a method of the field by its name: which operator it is, and with what.
pub fn as_here(name: &str) -> Option<String> {
    let asked = name.to_ascii_lowercase().replace('-', "_");
    let method = METHODS.iter().find(|method| method.name == asked)?;
    let operator = find(method.operator)?;
    let is_usual = |(name, word): &&(&str, &str)| {
        let parameter = operator.parameters().iter().find(|parameter| parameter.name == *name);
        let usual = parameter.and_then(|parameter| parameter.default(1));
        usual.is_some_and(|usual| matches!(usual, Value::Choice(usual) if usual == *word))
    };
    let fixed = method.fixed.iter().filter(|fixed| !is_usual(fixed));
    let fixed: Vec<String> = fixed.map(|(name, word)| format!("`{name} = {word:?}`")).collect();
    let with = if fixed.is_empty() { String::new() } else { format!(" with {}", fixed.join(", ")) };
    Some(format!("mergekit's `{}` is `{}`{with} here", method.name, method.operator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_an_operator_here() {
        for method in METHODS {
            let told = as_here(method.name).unwrap();
            assert!(told.starts_with(&format!("mergekit's `{}` is `", method.name)), "{told}");
        }
        assert_eq!(as_here("TIES").unwrap(), "mergekit's `ties` is `sign_merge` here");
        assert_eq!(
            as_here("dare-ties").unwrap(),
            "mergekit's `dare_ties` is `dare` with `elect = \"sum\"` here"
        );
        assert_eq!(as_here("dare_linear").unwrap(), "mergekit's `dare_linear` is `dare` here");
        assert_eq!(as_here("moe"), None);
    }
}
