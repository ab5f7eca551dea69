// Elements from values. Text is only ever set as text, so nothing a registry says can become markup.

/** `element("p.hint", {title: "x"}, "text", child)` */
export function element(kind, attributes = {}, ...children) {
    const [tag, ...classes] = kind.split(".");
    const node = document.createElement(tag);
    if (classes.length > 0) node.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (value === true) node.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
}

export const bytesText = (bytes) =>
    bytes < 1024 ? `${bytes} B` : bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
export const countText = (count) => count.toLocaleString("en");

/** What licence a model has; NONE grants nothing. */
export const licenceText = (licence) => (licence === "NONE" ? "no licence granted" : licence);

/** A digest, short to read and whole to copy. */
export const digestText = (digest) => element("code.digest", { title: digest }, digest.slice(0, 12));

function rows(pairs) {
    const list = element("dl");
    for (const [term, ...values] of pairs) list.append(element("dt", {}, term), element("dd", {}, ...values));
    return list;
}

function table(caption, heads, lines) {
    const row = (cells, kind, scope) => element("tr", {}, ...cells.map((cell, at) => element(at === 0 ? "th" : kind, at === 0 || scope ? { scope: scope ?? "row" } : {}, cell)));
    return element(
        "div.scroll",
        { tabindex: "0", role: "region", "aria-label": caption },
        element("table", {}, element("caption", {}, caption), element("thead", {}, row(heads, "th", "col")), element("tbody", {}, ...lines.map((line) => row(line, "td")))),
    );
}

/** A parameter as people write it. */
function plain(value) {
    if (value === null || typeof value !== "object") return String(value);
    if (Array.isArray(value)) return value.map(plain).join(", ");
    return Object.entries(value).map(([name, inner]) => `${name} ${plain(inner)}`).join(", ");
}

/** Everything that is known of a verified entry. */
export function details(entry, found) {
    const { manifest, admitted, lineage, promotion, smoke, leaf } = found;
    const claims = admitted.claims ?? manifest.claims;
    const parts = [element("h2", { id: "detail-title" }, entry.id)];
    parts.push(
        element("p.badges", {}, element("span.badge.good", {}, "verified"), element("span.badge", {}, `admitted in ${entry.cycle}`), element("span.badge", {}, licenceText(entry.licence))),
        rows([
            ["Parameters", countText(manifest.identity.parameters)],
            ["Stored as", manifest.identity.quantisation.name, `, ${bytesText(entry.model.bytes)}`],
            ["Tokenizer", `${manifest.identity.tokenizer.kind}, ${countText(entry.vocab)} ids`],
            ["Context", `${countText(entry.context)} tokens`],
            ["Weights", claims.source_kind],
            ["Claimed", claims.quality_claim === "runtime-execution-smoke-only" ? "that it runs, no quality" : claims.quality_claim, `; trained quality: ${claims.trained_quality_claim}`],
            ["Training data", manifest.data.join("; ") || "not declared"],
        ]),
    );
    if (lineage) {
        const settings = Object.entries(lineage.operator.parameters).map(([name, value]) => `${name} ${plain(value)}`);
        parts.push(element("h3", {}, "Lineage"), tree(entry, lineage), rows([["Operator", element("code", {}, lineage.operator.name), ` version ${lineage.operator.version}`], ["Parameters", settings.join("; ") || "none"], ["Seed", element("code", {}, lineage.seed)]]));
    }
    parts.push(
        element("h3", {}, "Gates"),
        table("Every gate, and what it found", ["gate", "state", "finding"], promotion.gates.map((gate) => [gate.gate, element("span.badge.good", {}, gate.state), gate.finding])),
    );
    if (found.evaluations.length > 0) {
        const lines = found.evaluations.flatMap((sidecar) =>
            Object.entries(sidecar.metrics).map(([name, metric]) => [sidecar.suite.name, name, number(metric.value), metric.stderr === undefined || metric.stderr === null ? "" : `± ${number(metric.stderr)}`, countText(metric.n ?? sidecar.suite.n), sidecar.bound ? "a gate" : "nothing"]),
        );
        parts.push(element("h3", {}, "Measurements"), table("Measured; ± is the standard error", ["suite", "metric", "value", "±", "n", "decided"], lines));
        parts.push(element("p.hint", {}, "Whether cases were in the training data: ", [...new Set(found.evaluations.map(({ contamination }) => (contamination?.status ? `${contamination.status}, ${countText(contamination.overlapping)} overlapping` : plain(contamination))))].join(", "), "."));
    }
    if (smoke) parts.push(element("h3", {}, "Native smoke run"), table("What it answered natively", ["prompt", "answer"], smoke.prompts.map((run) => [element("code", {}, run.prompt), element("code", {}, run.text)])));
    parts.push(
        element("h3", {}, "Evidence"),
        rows([
            ["Model", digestText(entry.model.sha256), ", in ", String(entry.model.pieces.length), " verified pieces"],
            ["Manifest", digestText(entry.manifest)],
            ["Admission", digestText(entry.admission), `, ledger entry ${leaf.index}, ${leaf.time}`],
            ["Receipt", digestText(manifest.receipt)],
        ]),
    );
    return parts;
}

const number = (value) => (Number.isInteger(value) ? countText(value) : value.toFixed(3));

/** Who it was made from, as a list of lists. */
function tree(entry, lineage) {
    const ancestor = (one, role) => element("li", {}, element("b", {}, one.name), role ? ` (${role}) ` : " ", digestText(one.sha256), one.adapts ? element("ul", {}, ancestor(one.adapts, "adapted")) : null);
    const parents = lineage.parents.map((parent) => ancestor(parent, ""));
    if (lineage.base) parents.unshift(ancestor(lineage.base, "base"));
    return element("ul.tree", {}, element("li", {}, element("b", {}, entry.id), ` by ${lineage.operator.name} from`, element("ul", {}, ...parents)));
}
