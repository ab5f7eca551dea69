// The promotion ledger as it was when the registry was built: a checkpoint over all entries, the entries, and
// for every model a proof that the entry which admitted it is under that checkpoint.
//
// The proof says that a model was admitted. That nothing later takes it back, only all entries can say: their
// root must be the checkpoint's, so none can be left out. What one look cannot show is a ledger replaced whole
// by an older or another one: the page remembers the longest it accepted and refuses what does not extend that.

import { base64, fields, hex, isCount, parsed, refuse, same, sha256 } from "./files.js";
import { leafHash, rootByProof, rootOf } from "./merkle.js";

// The entries together, and each with its line break: as much as is written (src/registry/snapshot.rs).
const MOST = 256 << 20;
const ENTRY = 1 << 16;
const NONE = "0".repeat(64);
// What every store calls its log. What is remembered, is by this name: a log that chose another would be new.
const ORIGIN = "studbook/ledger";
const text = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** `read(path, most)` gives the bytes of a file of the registry. */
export async function ledger(base, read) {
    const log = parsed(await read("ledger.json", 1 << 16), "ledger.json");
    fields(log, ["keys", "origin", "version"], "ledger.json");
    same(log.version, 2, "the version of ledger.json");
    same(log.origin, ORIGIN, "the name of the log");
    const note = text(await read("checkpoint", 1 << 16));
    const head = headOf(note, "the checkpoint");
    same(head.origin, log.origin, "the log of the checkpoint");
    const signed = await signedBy(note, log);
    const leaves = await entries(await read("ledger.jsonl", Math.min(head.size * ENTRY, MOST)));
    same(leaves.length, head.size, "the number of ledger entries");
    same(hex(await rootOf(leaves.map((leaf) => leaf.hash))), head.root, "the root of the ledger");
    const known = await remembered(base, head, leaves);
    const proved = async (entry) => admission(entry, leaves, head, text(await read(`proofs/${entry.id}.tlog-proof`, 1 << 18)));
    return { head, signed, known, leaves, admission: proved };
}

/** Every entry, chained to the one before; its hash in the tree beside it. */
async function entries(bytes) {
    const leaves = [];
    let previous = NONE;
    for (const line of lines(bytes)) {
        const leaf = parsed(line, `ledger entry ${leaves.length}`);
        same(leaf.index, leaves.length, "the place of a ledger entry");
        same(leaf.prev, previous, `what ledger entry ${leaves.length} follows`);
        previous = hex(await sha256(line));
        leaf.hash = await leafHash(line);
        leaves.push(leaf);
    }
    return leaves;
}

function* lines(bytes) {
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        yield bytes.subarray(from, at);
        from = at + 1;
    }
    if (from !== bytes.length) refuse("the ledger ends within an entry");
}

/** The text of a checkpoint: origin, size, root. */
function headOf(note, what) {
    const [origin, size, root, ...rest] = note.slice(0, note.lastIndexOf("\n\n") + 1).split("\n");
    const bytes = base64(root);
    if (!origin || !/^(0|[1-9]\d*)$/.test(size) || !isCount(Number(size)) || bytes?.length !== 32 || rest.join() !== "") refuse(`${what} is none`);
    return { origin, size: Number(size), root: hex(bytes) };
}

/** Whether one of the log's keys signed a note; refused if it has keys and none did. */
async function signedBy(note, { origin, keys }) {
    if (!Array.isArray(keys)) refuse("ledger.json names no keys");
    if (keys.length === 0) return false;
    const end = note.lastIndexOf("\n\n");
    const message = new TextEncoder().encode(note.slice(0, end + 1));
    for (const raw of keys.map(base64)) {
        if (raw?.length !== 32) refuse("ledger.json names a key that is none");
        const named = new TextEncoder().encode(`${origin}\n\u0001`);
        const id = hex(await sha256(Uint8Array.from([...named, ...raw]))).slice(0, 8);
        const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
        for (const line of note.slice(end + 2).split("\n")) {
            const bytes = line.startsWith(`\u2014 ${origin} `) ? base64(line.slice(origin.length + 3)) : null;
            if (bytes?.length !== 68 || hex(bytes.subarray(0, 4)) !== id) continue;
            if (await crypto.subtle.verify("Ed25519", key, bytes.subarray(4), message)) return true;
        }
    }
    return refuse("the checkpoint of the ledger is signed by none of its keys");
}

/** The entry that admitted, by its proof; refused if there is none, or if it was taken back. */
async function admission(entry, leaves, head, proof) {
    const { id, ledger_index: index } = entry;
    const leaf = leaves[index];
    if (!leaf) refuse(`${id} has no admission: ledger entry ${index} does not exist`);
    if (leaf.kind !== "admission") refuse(`${id} has no admission: ledger entry ${index} is a ${String(leaf.kind).slice(0, 40)}`);
    same(leaf.record, entry.admission, `${id}: the record of ledger entry ${index}`);
    same(leaf.subject, entry.manifest, `${id}: the manifest of ledger entry ${index}`);
    same(leaf.candidate, id, `${id}: the candidate of ledger entry ${index}`);
    await proves(proof, leaf, head, `the proof of ${id}`);
    const back = leaves.find((other) => takesBack(other, leaf));
    if (back) refuse(`the admission of ${id} was taken back by ledger entry ${back.index}`);
    return leaf;
}

/** Whether an entry takes an admission back. A refusal does wherever it stands: it is the last word. */
function takesBack(other, leaf) {
    if (other.kind === "refusal") return other.subject === leaf.subject;
    if (other.index <= leaf.index || (other.kind !== "revocation" && other.kind !== "retirement")) return false;
    if (other.subject === undefined) return other.candidate && other.cycle === leaf.cycle && other.candidate === leaf.candidate;
    return [leaf.subject, leaf.record].includes(other.subject);
}

/** Refuses a proof (C2SP tlog-proof) that does not lead from the entry to the checkpoint. */
async function proves(proof, leaf, head, what) {
    const cut = proof.indexOf("\n\n");
    const [version, extra, index, ...path] = proof.slice(0, cut).split("\n");
    same(version, "c2sp.org/tlog-proof@v1", `the version of ${what}`);
    same(index, `index ${leaf.index}`, `the entry of ${what}`);
    const under = headOf(proof.slice(cut + 2), `the checkpoint of ${what}`);
    for (const part of ["origin", "size", "root"]) same(under[part], head[part], `the ${part} under ${what}`);
    const entry = base64(extra?.replace(/^extra /, ""));
    const steps = path.map(base64);
    if (!entry || steps.some((step) => step?.length !== 32)) refuse(`${what} is none`);
    const hash = await leafHash(entry);
    same(hex(hash), hex(leaf.hash), `the entry in ${what}`);
    const root = await rootByProof(leaf.index, head.size, hash, steps);
    if (!root || hex(root) !== head.root) refuse(`${what} does not lead to the root of the ledger`);
}

/** Refuses what descends from something that was revoked: `digests` are all that a model rests on. */
export function untainted(id, digests, leaves) {
    const back = leaves.find((leaf) => leaf.kind === "revocation" && digests.has(leaf.subject));
    if (back) refuse(`${id} rests on ${back.subject.slice(0, 12)}…, which ledger entry ${back.index} revokes`);
}

/** The entry that is meant where none is named: what was admitted last, unless it was rolled back. */
export function defaultOf(entries, leaves) {
    const line = [];
    const refused = new Set(leaves.filter((leaf) => leaf.kind === "refusal").map((leaf) => leaf.subject));
    for (const { kind, cycle, subject } of leaves) {
        if (cycle !== entries[0]?.cycle || subject === undefined || refused.has(subject)) continue;
        if (kind === "rollback" && line.includes(subject)) line.length = line.lastIndexOf(subject);
        if (kind === "admission" || kind === "rollback") line.push(subject);
    }
    const last = line.findLast((subject) => entries.some((entry) => entry.manifest === subject));
    return entries.find((entry) => entry.manifest === last)?.id;
}

/** Whether this continues what this browser accepted before; refused if it does not. Then it is remembered. */
async function remembered(base, head, leaves) {
    const key = `studbook-log ${base.pathname} ${head.origin}`;
    let before = null;
    try {
        before = JSON.parse(localStorage.getItem(key));
    } catch {
        // Storage is off: every look is a first one.
    }
    if (before) {
        if (before.size > head.size) refuse(`the ledger has ${head.size} entries, this browser has seen ${before.size}: it was rolled back`, key);
        const then = hex(await rootOf(leaves.slice(0, before.size).map((leaf) => leaf.hash)));
        if (then !== before.root) refuse("the ledger is another one than this browser has seen: it was rewritten", key);
    }
    try {
        localStorage.setItem(key, JSON.stringify({ size: head.size, root: head.root }));
    } catch {
        return false;
    }
    return before !== null;
}
