// A conversation is a tree of turns: editing or regenerating makes a sibling, nothing is lost.
import type { Message } from "../api/types";

export interface Node<R> { id: string; parent: string | null; message: Message; runs: R | null }

export interface Tree<R> {
  nodes: Record<string, Node<R>>;
  /** Children in the order made; the key of the roots is "". */
  children: Record<string, string[]>;
  /** Which child is looked at, by parent. */
  chosen: Record<string, string>;
}

export const emptyTree = <R>(): Tree<R> => ({ nodes: {}, children: {}, chosen: {} });

export function add<R>(tree: Tree<R>, node: Node<R>): Tree<R> {
  const key = node.parent ?? "";
  return {
    nodes: { ...tree.nodes, [node.id]: node },
    children: { ...tree.children, [key]: [...(tree.children[key] ?? []), node.id] },
    chosen: { ...tree.chosen, [key]: node.id },
  };
}

export function change<R>(tree: Tree<R>, id: string, how: (node: Node<R>) => Node<R>): Tree<R> {
  const node = tree.nodes[id];
  return node ? { ...tree, nodes: { ...tree.nodes, [id]: how(node) } } : tree;
}

/** From the root to the leaf that is looked at. */
export function path<R>(tree: Tree<R>): Node<R>[] {
  const out: Node<R>[] = [];
  for (let key = ""; ;) {
    const id = tree.chosen[key];
    const node = id === undefined ? undefined : tree.nodes[id];
    if (!node || out.length > 10_000) return out;
    out.push(node);
    key = node.id;
  }
}

/** Everything above and with `id`. */
export function upTo<R>(tree: Tree<R>, id: string | null): Node<R>[] {
  const out: Node<R>[] = [];
  for (let at = id; at !== null;) {
    const node: Node<R> | undefined = tree.nodes[at];
    if (!node) break;
    out.unshift(node);
    at = node.parent;
  }
  return out;
}

export function siblings<R>(tree: Tree<R>, id: string): { index: number; ids: string[] } {
  const node = tree.nodes[id];
  const ids = node ? tree.children[node.parent ?? ""] ?? [] : [];
  return { index: ids.indexOf(id), ids };
}

export function choose<R>(tree: Tree<R>, id: string): Tree<R> {
  const node = tree.nodes[id];
  return node ? { ...tree, chosen: { ...tree.chosen, [node.parent ?? ""]: id } } : tree;
}

/** The messages that lead to an answer below `id`; an empty system prompt is left out, not sent as "". */
export function messagesUpTo<R>(tree: Tree<R>, id: string | null, system: string): Message[] {
  const turns = upTo(tree, id).map((node) => node.message);
  return system.trim() === "" ? turns : [{ role: "system", content: system }, ...turns];
}
