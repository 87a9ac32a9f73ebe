import { type RefObject, useEffect, useRef, useState } from "react";

/** An element, and how wide it is drawn. */
export function useWidth<E extends HTMLElement>(initial = 640): [RefObject<E | null>, number] {
  const box = useRef<E>(null);
  const [width, setWidth] = useState(initial);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(Math.max(220, element.clientWidth)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}
