// Whoever uses this browser, so that one person has one vote. It names nobody: the server writes "person" before the name.
export function voter(): { id: string; name: string } {
  let id = "";
  try {
    id = localStorage.getItem("pellucid.voter") ?? "";
    if (!id) {
      id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
      localStorage.setItem("pellucid.voter", id);
    }
  } catch {
    id = "somebody";
  }
  return { id, name: id.slice(0, 8) };
}
