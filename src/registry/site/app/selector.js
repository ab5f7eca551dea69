// The selector: what each entry must satisfy in itself, before any of its files is fetched.

import { digested, fields, hex, isCount, isDigest, isName, parsed, record, refuse, same, sha256 } from "./files.js";
import { untainted } from "./ledger.js";

export const BUDGET = 33_554_432;
const PIECE = 262_144;
const MOST = 4 << 20;

const ENTRY = ["id", "cycle", "model", "manifest", "admission", "ledger_index", "evidence", "format", "context", "vocab", "claims", "licence", "route", "budget_bytes"];
const MODEL = ["path", "bytes", "sha256", "blake3", "integrity", "piece_bytes", "pieces"];
const CLAIMS = ["source_kind", "quality_claim", "trained_quality_claim"];
const SOURCES = ["deterministic-smoke", "converted-trained", "undeclared"];
const EVIDENCE = ["promotion", "lineage", "smoke", "evaluation"];

/** The selector, every entry checked in itself. `read(path, most)` gives the bytes of a file of the registry. */
export async function selector(read) {
    const value = parsed(await read("selector.json", MOST), "selector.json");
    const names = ["version", "entries"];
    fields(value, "default" in value ? [...names, "default"] : names, "selector.json");
    same(value.version, 3, "the version of selector.json");
    if (!Array.isArray(value.entries)) refuse("selector.json has no list of entries");
    const ids = new Set();
    const routes = new Set();
    for (const entry of value.entries) {
        check(entry);
        if (ids.has(entry.id)) refuse(`${entry.id} is in the registry twice`);
        if (routes.has(entry.route)) refuse(`the route ${entry.route} leads to two models`);
        ids.add(entry.id);
        routes.add(entry.route);
    }
    if (value.default !== undefined && !ids.has(value.default)) refuse("the default is no entry");
    return value;
}

function check(entry) {
    fields(entry, ENTRY, "an entry of selector.json");
    const { id, model } = entry;
    if (!isName(id) || !isName(entry.cycle)) refuse("an entry of selector.json has no proper id");
    fields(model, MODEL, `the model of ${id}`);
    fields(entry.claims, CLAIMS, `the claims of ${id}`);
    for (const [what, digest] of [["model", model.sha256], ["model", model.blake3], ["manifest", entry.manifest], ["admission", entry.admission]]) {
        if (!isDigest(digest)) refuse(`${id}: the digest of its ${what} is none`);
    }
    if (/^0+$/.test(entry.admission)) refuse(`${id} has no admission`);
    for (const count of [model.bytes, entry.ledger_index, entry.context, entry.vocab, entry.budget_bytes]) {
        if (!isCount(count)) refuse(`${id}: ${String(count).slice(0, 40)} is not a count`);
    }
    same(model.path, `models/${model.sha256}.${id}.slm`, `${id}: the model path`);
    same(entry.route, id, `${id}: the route`);
    same(entry.format, "slm1", `${id}: the format`);
    same(model.piece_bytes, PIECE, `${id}: the piece length`);
    same(model.pieces.length, Math.ceil(model.bytes / PIECE), `${id}: the number of pieces`);
    if (!model.pieces.every(isDigest)) refuse(`${id}: a piece has no digest`);
    if (entry.budget_bytes > BUDGET) refuse(`${id}: the budget is ${entry.budget_bytes} bytes, at most ${BUDGET} are allowed`);
    if (model.bytes > entry.budget_bytes) refuse(`the model of ${id} has ${model.bytes} bytes, over the budget of ${entry.budget_bytes}`);
    if (!SOURCES.includes(entry.claims.source_kind)) refuse(`${id}: an unknown source kind`);
    same(entry.claims.quality_claim, "runtime-execution-smoke-only", `${id}: the quality claim`);
    same(entry.claims.trained_quality_claim, "not-claimed", `${id}: the claim of trained quality`);
    if (typeof entry.licence !== "string" || !/^[\w .+\-():]{1,1024}$/.test(entry.licence)) refuse(`${id}: the licence is no licence expression`);
    if (!Array.isArray(entry.evidence) || entry.evidence.length > 64) refuse(`${id}: the evidence is no list`);
    for (const item of entry.evidence) {
        const measured = item.kind === "evaluation";
        fields(item, measured ? ["kind", "sha256", "suite"] : ["kind", "sha256"], `evidence of ${id}`);
        if (measured && !isName(item.suite)) refuse(`${id}: an evaluation on no suite`);
        if (!EVIDENCE.includes(item.kind) || !isDigest(item.sha256)) refuse(`${id}: evidence of no known kind`);
    }
}

/** The records that are read, each of the one version that this page understands. */
const TYPES = {
    admission: "admission-record:v2",
    manifest: "candidate-manifest:v2",
    promotion: "promotion-template:v2",
    lineage: "lineage-template:v2",
    smoke: "runtime-smoke:v1",
    evaluation: "evaluation-sidecar:v3",
};

/** Follows an entry to its manifest, its admission and what that rests on; everything must agree. */
export async function evidence(entry, base, ledger) {
    const { id, model } = entry;
    const admitted = record(await digested(`records/${entry.admission}.${id}.admission.json`, entry.admission, base, MOST), TYPES.admission, `the admission of ${id}`);
    same(admitted.admitted, true, `${id}: admitted`);
    same(admitted.candidate, id, `the candidate of the admission of ${id}`);
    same(admitted.cycle, entry.cycle, `the cycle of the admission of ${id}`);
    same(admitted.manifest, entry.manifest, `the manifest that the admission of ${id} is about`);
    const leaf = await ledger.admission(entry);

    const manifest = record(await digested(`manifests/${entry.manifest}.${id}.json`, entry.manifest, base, MOST), TYPES.manifest, `the manifest of ${id}`);
    same(manifest.candidate, id, `the candidate of the manifest of ${id}`);
    same(manifest.artifact.sha256, model.sha256, `${id}: the SHA-256 of the model`);
    same(manifest.artifact.blake3, model.blake3, `${id}: the BLAKE3 of the model`);
    same(manifest.artifact.bytes, model.bytes, `${id}: the length of the model`);
    same(manifest.identity.architecture.max_context, entry.context, `${id}: the context`);
    same(manifest.identity.architecture.vocab_size, entry.vocab, `${id}: the vocabulary`);
    for (const claim of CLAIMS) same(manifest.claims[claim], entry.claims[claim], `${id}: ${claim}`);

    const found = { manifest, admitted, leaf, promotion: null, lineage: null, smoke: null, evaluations: [] };
    for (const { kind, suite, sha256: digest } of entry.evidence) {
        const name = suite === undefined ? kind : `${kind}.${suite}`;
        const body = record(await digested(`records/${digest}.${id}.${name}.json`, digest, base, MOST), TYPES[kind], `the ${kind} of ${id}`);
        if (kind === "evaluation" || kind === "smoke") same(body.subject.manifest, entry.manifest, `${id}: the subject of its ${kind}`);
        if (kind === "promotion") same(digest, admitted.promotion, `${id}: the promotion it was admitted by`);
        if (kind === "lineage") same(digest, manifest.lineage, `${id}: the lineage its manifest binds`);
        if (kind === "evaluation") same(body.suite.name, suite, `${id}: the suite of an evaluation`);
        if (kind === "evaluation") found.evaluations.push({ ...body, sha256: digest });
        else found[kind] = body;
    }
    if (!found.promotion) refuse(`${id} shows no promotion`);
    same(found.promotion.decision, "admit", `${id}: the decision`);
    same(found.promotion.manifest, entry.manifest, `${id}: the manifest that was promoted`);
    const open = found.promotion.gates.filter((gate) => gate.state !== "passed");
    if (found.promotion.gates.length === 0 || open.length > 0) refuse(`${id} was admitted past the gate ${open[0]?.gate}`);
    const names = await Promise.all(manifest.data.map(async (name) => hex(await sha256(new TextEncoder().encode(name)))));
    untainted(id, new Set([entry.manifest, ...digestsIn(manifest), ...digestsIn(found.lineage), ...names]), ledger.leaves);
    const bound = new Set(found.promotion.gates.flatMap((gate) => gate.evidence));
    for (const sidecar of found.evaluations) sidecar.bound = bound.has(sidecar.sha256);
    return found;
}

/** Every digest that a record names, at any depth. */
function digestsIn(value) {
    if (isDigest(value)) return [value];
    return value !== null && typeof value === "object" ? Object.values(value).flatMap(digestsIn) : [];
}
