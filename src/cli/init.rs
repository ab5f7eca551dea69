//! `studbook init`: a commented plan that runs as it is.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::args::Init;
use super::context::Terminal;
use super::exit::{Exit, UsageError};
use crate::base::name::Name;
use crate::convert::Target;
use crate::disk::{IoContext, atomic};
use crate::model::Package;

pub(super) fn run(command: &Init, terminal: &Terminal) -> anyhow::Result<Exit> {
    if command.plan.exists() {
        let error = UsageError::new(format!("{} is already there", command.plan.display()));
        return Err(error.hint("choose another name; init never overwrites").into());
    }
    let folder = command.plan.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut parents = if command.parents.is_empty() { models_in(folder)? } else { command.parents.clone() };
    if let Some(base) = &command.base {
        parents.retain(|parent| parent != base);
    }
    if parents.is_empty() {
        let error = UsageError::new(format!("there are no .slm files in {}", folder.display()));
        return Err(error.hint("name the models to combine with --parent MODEL").into());
    }
    let mut models = command.base.iter().chain(&parents).map(|model| opened(model));
    // Children are like the base, or the first parent.
    let like = models.next().transpose()?;
    models.try_for_each(|model| model.map(drop))?;
    for suite in &command.suites {
        crate::evaluate::Suite::read(&crate::evaluate::exact_match::ExactMatch, suite)
            .with_context(|| format!("the suite {}", suite.display()))?;
    }
    let plan = Skeleton {
        children: Children::like(&like.expect("there is a parent")),
        name: stem(&command.plan),
        base: command.base.as_deref().map(|base| Named::new(base, folder)),
        parents: parents.iter().map(|parent| Named::new(parent, folder)).collect(),
        suites: command.suites.iter().map(|suite| Named::new(suite, folder)).collect(),
    };
    atomic::replace(&command.plan, plan.text().as_bytes())?;
    writeln!(
        terminal.out(),
        "Wrote {path}. Look at it, then:\n    studbook plan {path}\n    studbook run {path}",
        path = command.plan.display()
    )?;
    Ok(Exit::Complete)
}

/// A model that the plan can run and measure.
fn opened(model: &Path) -> anyhow::Result<Package> {
    let package = super::model::open_model(model)?.package;
    match package.checkpoint() {
        Ok(_) => Ok(package),
        Err(why) => {
            let error = UsageError::new(format!("{} cannot be run: {why}", model.display()));
            Err(error
                .hint("a plan of models that are only merged is written by hand: plans/README.md")
                .into())
        }
    }
}

fn models_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "slm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A file under the name the plan gives it.
struct Named {
    name: Name,
    path: String,
}

impl Named {
    fn new(path: &Path, folder: &Path) -> Self {
        Self { name: stem(path), path: relative(path, folder) }
    }
}

/// How children are stored, and how large they may be.
struct Children {
    /// What `[cycle]` says of it.
    output: &'static str,
    /// The largest of them, in MiB.
    most: u64,
}

impl Children {
    fn like(package: &Package) -> Self {
        let slm = Target::of_children(package.weights.format()) == Target::Slm1;
        let beside: usize = package.companions.iter().map(|companion| companion.bytes.len()).sum();
        let bytes = package.weights.bytes() + beside as u64;
        Self {
            output: match slm {
                true => "output = \"q8_0\"           # children are stored as f32, q8_0 or q4_0\n",
                false => {
                    "# Children are stored as the base or the first parent is; `format` and `output` change it.\n"
                }
            },
            most: (bytes.div_ceil(1 << 20) + 1).max(32),
        }
    }
}

/// Everything the skeleton is filled with.
struct Skeleton {
    children: Children,
    name: Name,
    base: Option<Named>,
    parents: Vec<Named>,
    suites: Vec<Named>,
}

impl Skeleton {
    fn text(&self) -> String {
        let names: Vec<String> = self.parents.iter().map(|parent| format!("\"{}\"", parent.name)).collect();
        let names = names.join(", ");
        let Children { output, most } = self.children;
        let mut text = format!(
            "# A breeding cycle. `studbook plan` shows what would run, `studbook run` runs it.\n\n\
             [cycle]\n\
             name = \"{}\"\n\
             seed = \"1\"                # all randomness derives from it\n\
             {output}\n\
             # A plan that can exceed its budget does not compile.\n\
             [budget]\n\
             candidates = 16\n\
             artifact = \"{most} MiB\"       # largest child\n\
             disk = \"{} MiB\"          # all children\n\
             seconds = 3600\n\n",
            self.name,
            most * 16
        );
        if let Some(base) = &self.base {
            text += &format!(
                "[parents.{}]\nsource = {:?}\nrole = \"base\"          # deltas are taken from it\n\n",
                base.name, base.path
            );
        }
        for parent in &self.parents {
            text += &format!("[parents.{}]\nsource = {:?}\n\n", parent.name, parent.path);
        }
        text += &format!(
            "# The plain average.\n[candidates.average]\noperator = \"blend\"\nparents = [{names}]\nweight = 1.0\n\n"
        );
        if self.base.is_some() {
            text += &format!(
                "# The base plus a share of what each parent learned; one candidate for each lambda.\n\
                 [candidates.tasks]\noperator = \"task_delta\"\nparents = [{names}]\nweight = 1.0\n\
                 sweep = {{ lambda = [0.3, 0.5] }}\n\n\
                 # TIES: keep the largest changes, let the parents agree on a sign.\n\
                 [candidates.ties]\noperator = \"sign_merge\"\nparents = [{names}]\nweight = 1.0\ndensity = 0.5\n\n"
            );
        }
        text += "# Every candidate must load and run before it is measured.\n\
                 [smoke]\nprompts = [\"hello\"]\nmax_tokens = 8\n\n";
        for suite in &self.suites {
            text += &format!(
                "[[eval]]\nname = \"{}\"\nkind = \"exact_match\"\ncases = {:?}\nmax_tokens = 16\n\
                 use = \"both\"             # gates and ranks candidates; better: other cases for each\n\n",
                suite.name, suite.path
            );
        }
        text += &format!(
            "# Gates decide; nothing is admitted without passing all of its gates.\n\
             [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = {}\n\n",
            most << 20
        );
        if !self.suites.is_empty() {
            let suites: Vec<String> = self.suites.iter().map(|suite| format!("\"{}\"", suite.name)).collect();
            text += &format!(
                "[[gate]]\nname = \"better-than-parents\"\nkind = \"metric\"\nmetric = \"exact_match\"\n\
                 suites = [{}]           # their mean\nversus = \"best-parent\"\nmargin = 0.0\n\n",
                suites.join(", ")
            );
        }
        text += "# A person's word; bring it with `studbook attest`.\n\
                 # [[gate]]\n# name = \"release\"\n# kind = \"approval\"\n# statement = \"fit to be released\"\n\n\
                 # How many parents the next cycle may start from.\n[recipe]\nparents = 2\n";
        text
    }
}

/// A usable name out of a file's name.
fn stem(path: &Path) -> Name {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let safe: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' }).collect();
    let safe = safe.trim_start_matches(['-', '_']);
    safe.chars()
        .take(40)
        .collect::<String>()
        .parse()
        .unwrap_or_else(|_| "model".parse().expect("a proper name"))
}

/// A path as the plan, which lies in `folder`, must write it.
fn relative(path: &Path, folder: &Path) -> String {
    let full = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (path, folder) = (full(path), full(folder));
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| PathBuf::from(".."));
    let relative: PathBuf =
        up.chain(path.components().skip(shared).map(|c| PathBuf::from(c.as_os_str()))).collect();
    relative.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        assert_eq!(stem(Path::new("/x/My Model v1.slm")).as_str(), "my-model-v1");
        assert_eq!(stem(Path::new("--.slm")).as_str(), "model");
    }
}
