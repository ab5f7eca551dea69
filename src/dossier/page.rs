//! The page for people: one file that loads nothing and runs nothing, every word of the records escaped.

use super::card::word;
use super::derived::Listed;
use super::evidence::Evidence;
use super::layout;
use super::markup::{bytes, html};
use super::page_parts::{measurements, pedigree};
use crate::base::canonical;
use crate::ledger::{Head, Leaf};
use crate::pedigree::tried::told;
use crate::record::attest::Bundle;

const STYLE: &str = include_str!("page.css");

/// Writes the page; `time` is when the candidate was decided.
pub(super) fn write(evidence: &Evidence, listed: &[Listed], time: &str) -> String {
    let name = html(evidence.index.candidate.as_str());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{name}: dossier</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(evidence, time, &mut page);
    section("Pedigree", &pedigree(evidence), &mut page);
    section("Gates", &gates(evidence), &mut page);
    section("Measurements", &measurements(evidence), &mut page);
    section("How it was made", &made(evidence), &mut page);
    section("It ran", &smoke(evidence), &mut page);
    section("Who says so, and since when", &witnesses(evidence), &mut page);
    section("How to check it", &how(evidence), &mut page);
    section("Files", &files(listed), &mut page);
    page += "<footer>Controlled candidate assembly with evidence, manifests, receipts and explicit promotion gates. \
             Written by Studbook from the records in this folder; <code>studbook verify</code> writes it again and compares.</footer>\n";
    page += "</main>\n</body>\n</html>\n";
    page
}

fn section(title: &str, inner: &str, page: &mut String) {
    *page += &format!("<section>\n<h2>{title}</h2>\n{inner}</section>\n");
}

/// A table; cells are HTML already.
pub(super) fn table(heads: &[&str], rows: &[String]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>\n{}</tbody></table></div>\n",
        rows.concat()
    )
}

fn facts(rows: &[(&str, String)]) -> String {
    let rows: String =
        rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n")).collect();
    format!("<dl>\n{rows}</dl>\n")
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", html(text))
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "not declared".to_owned() } else { html(&words.join(", ")) }
}

fn head(evidence: &Evidence, time: &str, page: &mut String) {
    let (manifest, admission) = (&evidence.manifest().body, &evidence.admission.body);
    let state = if admission.admitted { "admitted" } else { "refused" };
    let claims = admission.claims.as_ref().unwrap_or(&manifest.claims);
    *page += &format!(
        "<header>\n<p>Dossier of a bred model, cycle {}</p>\n<h1>{}</h1>\n<p><span class=\"badge {state}\">{state}</span> {}</p>\n</header>\n",
        html(evidence.index.cycle.as_str()),
        html(evidence.index.candidate.as_str()),
        html(time),
    );
    let network =
        manifest.identity.architecture.as_ref().map_or("not said by its files".to_owned(), |config| {
            format!(
                "{} layers, width {}, {} heads, context {}, {} tokens",
                config.layer_count,
                config.hidden_size,
                config.head_count,
                config.max_context,
                config.vocab_size
            )
        });
    let encoding = html(&manifest.identity.quantisation.name);
    *page += &facts(&[
        ("Manifest", code(&evidence.index.manifest.to_hex())),
        ("Artifact", code(&manifest.artifact.sha256.to_hex())),
        ("Stored as", format!("{}, {encoding}, {}", html(&manifest.format), bytes(manifest.artifact.bytes))),
        ("Network", format!("{} parameters; {}", manifest.identity.parameters, html(&network))),
        ("Licences", list(&manifest.licences)),
        ("Declared data", list(&manifest.data)),
        ("Source", html(&claims.source_kind)),
        ("Quality claim", html(&claims.quality_claim)),
        ("Trained quality", html(&claims.trained_quality_claim)),
    ]);
}

fn gates(evidence: &Evidence) -> String {
    let row = |gate: &crate::record::promotion::GateStatus| {
        let state = word(gate.state);
        format!(
            "<tr><td>{}</td><td><span class=\"{state}\">{state}</span></td><td>{}</td></tr>\n",
            code(gate.gate.as_str()),
            html(&gate.finding)
        )
    };
    let rows: Vec<String> = evidence.promotion.body.gates.iter().map(row).collect();
    let others = told(evidence.other_plans().unwrap_or_default(), &evidence.index.same_cases);
    let others =
        others.map_or(String::new(), |told| format!("<p>Before this was decided: {}.</p>\n", html(&told)));
    table(&["gate", "state", "finding"], &rows) + &others
}

fn made(evidence: &Evidence) -> String {
    let (lineage, receipt) = (&evidence.lineage().body, &evidence.receipt.body);
    let mut rows = vec![
        ("Operator", format!("{} version {}", code(&lineage.operator.name), lineage.operator.version)),
        ("Parameters", json(&lineage.operator.parameters)),
        ("Seed", code(&lineage.seed)),
        ("Tensors", receipt.tensors.len().to_string()),
        ("Again", code(&receipt.recompute)),
    ];
    if !lineage.operator.rules.is_empty() {
        rows.push(("Rules", json(&lineage.operator.rules)));
    }
    if !lineage.operator.slices.is_empty() {
        rows.push(("Layers", json(&lineage.operator.slices)));
    }
    if !receipt.realised.is_empty() {
        rows.push(("Realised", json(&receipt.realised)));
    }
    facts(&rows)
}

/// A value as canonical JSON.
fn json(value: &impl serde::Serialize) -> String {
    code(&canonical::to_string(value).unwrap_or_default())
}

fn smoke(evidence: &Evidence) -> String {
    let smoke = &evidence.smoke.body;
    if let Some(why) = &smoke.cannot_run {
        return format!("<p>Not here: {}</p>\n", html(why));
    }
    let row = |run: &crate::record::smoke::PromptRun| {
        let clean = run.finite && run.deterministic && run.error.is_none();
        let state = if clean { "passed" } else { "failed" };
        let said = "finite, and the same bits twice";
        format!(
            "<tr><td>{}</td><td>{}</td><td><span class=\"{state}\">{}</span></td></tr>\n",
            code(&run.prompt),
            code(&run.text),
            if clean { said.to_owned() } else { html(run.error.as_deref().unwrap_or("not clean")) }
        )
    };
    let rows: Vec<String> = smoke.prompts.iter().map(row).collect();
    let note = "<p>This shows that the model executes, not that it is good.</p>\n";
    format!("{}{note}", table(&["prompt", "answer", "run"], &rows))
}

fn witnesses(evidence: &Evidence) -> String {
    let entry = |proof: &crate::ledger::Proof| {
        Leaf::from_bytes(&proof.entry).map_or_else(
            |why| html(&why),
            |leaf| format!("entry {} ({}), {}", leaf.index, leaf.kind.word(), html(&leaf.time)),
        )
    };
    let mut rows = vec![("Plan registered", entry(&evidence.plan)), ("Decision", entry(&evidence.decision))];
    if let Ok(head) = Head::from_text(&evidence.decision.checkpoint.text) {
        let signers: Vec<String> =
            evidence.decision.checkpoint.signatures.iter().map(|line| line.name.clone()).collect();
        let signed = if signers.is_empty() {
            "not signed".to_owned()
        } else {
            format!("signed by {}", html(&signers.join(", ")))
        };
        rows.push((
            "Log",
            format!(
                "{}, {} entries, root {}, {signed}",
                html(&head.origin),
                head.size,
                code(&head.root.to_hex())
            ),
        ));
    }
    let facts = facts(&rows);
    if evidence.bundles.is_empty() {
        return format!(
            "{facts}<p>No record is signed: the folder agrees with itself, and anybody could have made it.</p>\n"
        );
    }
    let row = |(path, bytes): (&String, &Vec<u8>)| {
        let id = Bundle::parse(bytes).map(|bundle| bundle.keyid());
        let key =
            id.as_ref().ok().and_then(|id| evidence.keys.keys().iter().find(|key| key.public.id() == *id));
        let who = key.map_or("a key that is not here".to_owned(), |key| {
            format!("{} <code>{}</code>", key.role, html(key.name.as_str()))
        });
        let id = id.map_or(String::new(), |id| code(&id.short()));
        format!("<tr><td>{}</td><td>{who}</td><td>{id}</td></tr>\n", link(path, path))
    };
    let rows: Vec<String> = evidence.bundles.iter().map(row).collect();
    format!(
        "{facts}{}<p>A name here is what the folder says; whose key it is, your trust file says.</p>\n",
        table(&["record", "signed by", "key"], &rows)
    )
}

/// A link to a file of the folder.
fn link(path: &str, text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let href: String = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("<a href=\"{href}\">{}</a>", code(text))
}

fn how(evidence: &Evidence) -> String {
    let signed = match evidence.bundles.is_empty() {
        true => "",
        false => " --trust trust.toml",
    };
    let model = match evidence.receipt.body.files.is_empty() {
        true => format!("{}{}", layout::MODEL, super::derived::model_name(&evidence.manifest().body)),
        false => layout::MODEL.to_owned(),
    };
    format!(
        "<pre><code># every file is what it was\nsha256sum --check {sums}\n\n\
         # records follow from each other, signatures from their keys, the log holds\nstudbook verify .{signed}\n\n\
         # the same, and the model is run again\nstudbook verify . --recompute{signed}\n\n\
         # what it is\nstudbook inspect {}</code></pre>\n\
         <p>The parents are not in this folder, only their digests. With them, <code>{}</code> makes the same bytes again.</p>\n",
        html(&model),
        html(&evidence.receipt.body.recompute),
        sums = layout::SUMS,
    )
}

fn files(listed: &[Listed]) -> String {
    let row = |file: &Listed| {
        format!(
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"mono\">{}</td></tr>\n",
            link(&file.path, &file.path),
            file.bytes,
            file.sha256
        )
    };
    let rows: Vec<String> = listed.iter().map(row).collect();
    table(&["file", "bytes", "SHA-256"], &rows)
}
