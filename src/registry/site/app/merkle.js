// Merkle tree hashes as in RFC 6962, section 2.1.

import { sha256 } from "./files.js";

async function hashed(prefix, ...parts) {
    const bytes = new Uint8Array(1 + parts.reduce((sum, part) => sum + part.length, 0));
    bytes[0] = prefix;
    let at = 1;
    for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
    }
    return new Uint8Array(await sha256(bytes));
}

export const leafHash = (leaf) => hashed(0, leaf);
const nodeHash = (left, right) => hashed(1, left, right);

/** The root over leaf hashes; that of no leaves is the hash of nothing. */
export async function rootOf(hashes) {
    if (hashes.length === 0) return new Uint8Array(await sha256(new Uint8Array()));
    // Pairing neighbours and carrying an odd one over gives the RFC's tree.
    let level = hashes;
    while (level.length > 1) {
        const next = [];
        for (let at = 0; at < level.length; at += 2) {
            next.push(at + 1 < level.length ? await nodeHash(level[at], level[at + 1]) : level[at]);
        }
        level = next;
    }
    return level[0];
}

/** The root that an inclusion proof leads to; null if it has too few or too many steps. */
export async function rootByProof(index, size, leaf, proof) {
    if (index >= size) return null;
    let [node, last, hash] = [index, size - 1, leaf];
    for (const sibling of proof) {
        if (last === 0) return null;
        if (node % 2 === 1 || node === last) {
            hash = await nodeHash(sibling, hash);
            while (node % 2 === 0 && node !== 0) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
        } else {
            hash = await nodeHash(hash, sibling);
        }
        [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
    }
    return last === 0 ? hash : null;
}
