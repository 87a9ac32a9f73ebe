import { useEffect } from "react";
import { page, usePage } from "../state/page";

/** A passing word about something just done. */
export function Notice() {
  const notice = usePage((s) => s.notice);
  useEffect(() => {
    if (notice === null) return;
    const timer = setTimeout(() => page.set({ notice: null }), 6000);
    return () => clearTimeout(timer);
  }, [notice]);
  return <div className="notice-box" role="status" aria-live="polite">{notice && <p className="notice">{notice}<button type="button" className="link" onClick={() => page.set({ notice: null })}>Close</button></p>}</div>;
}
