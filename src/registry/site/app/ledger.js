// The promotion ledger as it was when the registry was built: every entry, chained by SHA-256 to the next.
//
// The page reads all of it, so an entry that was edited, dropped or swapped shows, and so does an admission
// that was taken back later. What one look cannot show is a ledger replaced whole by an older or another one:
// the page remembers the longest it accepted and refuses what does not begin with that.

import { bytesOf, fields, hex, isCount, isDigest, parsed, refuse, same, sha256 } from "./files.js";
import { leafHash, rootOf } from "./merkle.js";

const MOST = 16 << 20;
const NONE = "0".repeat(64);

export async function ledger(base, vouched) {
    const headBytes = await bytesOf("ledger.json", base, 4096);
    await vouched?.check("ledger.json", headBytes);
    const head = parsed(headBytes, "ledger.json");
    fields(head, ["head", "origin", "size", "version"], "ledger.json");
    if (!isCount(head.size) || !isDigest(head.head)) refuse("ledger.json is not a head");
    const bytes = await bytesOf("ledger.jsonl", base, MOST);
    const leaves = [];
    const hashes = [];
    let previous = NONE;
    for (const line of lines(bytes)) {
        const leaf = parsed(line, `ledger entry ${leaves.length}`);
        same(leaf.index, leaves.length, "the place of a ledger entry");
        same(leaf.prev, previous, `what ledger entry ${leaves.length} follows`);
        previous = hex(await sha256(line));
        leaf.hash = previous;
        leaves.push(leaf);
        hashes.push(await leafHash(line));
    }
    same(leaves.length, head.size, "the number of ledger entries");
    same(previous, head.head, "the head of the ledger");
    const known = remembered(base, head, leaves);
    return { head, leaves, known, root: hex(await rootOf(hashes)), admission: (entry) => admission(entry, leaves) };
}

function* lines(bytes) {
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        yield bytes.subarray(from, at);
        from = at + 1;
    }
    if (from !== bytes.length) refuse("the ledger ends within an entry");
}

/** The entry that admitted; refused if there is none, or if it was taken back. */
function admission(entry, leaves) {
    const { id, ledger_index: index } = entry;
    const leaf = leaves[index];
    if (!leaf) refuse(`${id} has no admission: ledger entry ${index} does not exist`);
    if (leaf.kind !== "admission") refuse(`${id} has no admission: ledger entry ${index} is a ${String(leaf.kind).slice(0, 40)}`);
    same(leaf.record, entry.admission, `${id}: the record of ledger entry ${index}`);
    same(leaf.subject, entry.manifest, `${id}: the manifest of ledger entry ${index}`);
    same(leaf.candidate, id, `${id}: the candidate of ledger entry ${index}`);
    const back = leaves.slice(index + 1).find(
        (later) =>
            (later.kind === "revocation" || later.kind === "retirement") &&
            (later.subject === leaf.subject || (later.candidate && later.cycle === leaf.cycle && later.candidate === leaf.candidate)),
    );
    if (back) refuse(`the admission of ${id} was taken back by ledger entry ${back.index}`);
    return leaf;
}

/** Compares with what this browser accepted before, and remembers. */
function remembered(base, head, leaves) {
    const key = `studbook ${base.pathname} ${head.origin}`;
    let before = null;
    try {
        before = JSON.parse(localStorage.getItem(key));
    } catch {
        // Storage is off: every look is a first one.
    }
    if (before && before.size > 0) {
        if (before.size > leaves.length) {
            refuse(`the ledger has ${leaves.length} entries, this browser has seen ${before.size}: it was rolled back`);
        }
        if (leaves[before.size - 1].hash !== before.head) {
            refuse("the ledger is another one than this browser has seen: it was rewritten");
        }
    }
    try {
        localStorage.setItem(key, JSON.stringify({ size: head.size, head: head.head }));
    } catch {
        return false;
    }
    return before !== null;
}
