// Line icons on a 16-unit grid, drawn here so that nothing is fetched.
const PATHS = {
  send: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  stop: "M4.5 4.5h7v7h-7z",
  redo: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5V5h-2.5",
  edit: "M10.5 3 13 5.5 5.5 13H3v-2.5zM9 4.5 11.5 7",
  copy: "M5.5 5.5h7v7h-7zM3.5 10.5v-7h7",
  close: "M4 4l8 8M12 4l-8 8",
  left: "M10 3.5 5.5 8l4.5 4.5",
  right: "M6 3.5 10.5 8 6 12.5",
  down: "M3.5 6 8 10.5 12.5 6",
  plus: "M8 3v10M3 8h10",
  sliders: "M3 5h6M12 5h1M3 11h1M7 11h6M10.5 3.5v3M5.5 9.5v3",
  share: "M8 10V2.5M5 5.5l3-3 3 3M3 9v4.5h10V9",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  upload: "M8 10.5V3M5 6l3-3 3 3M3 13h10",
  download: "M8 3v7.5M5 7.5l3 3 3-3M3 13h10",
  check: "M3 8.5 6.5 12 13 4.5",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13 9.5A5.5 5.5 0 1 1 6.5 3a4.5 4.5 0 0 0 6.5 6.5z",
  auto: "M2.5 3.5h11v7.5h-11zM6 13.5h4",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.5M7 6.5h.5M10 6.5h.5M4 9.5h8",
  guide: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM10.5 5.5 9 9l-3.500 1.500L7 7z",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.500 3.500",
  trash: "M3 4.500h10M6 4.500V3h4v1.500M4.500 4.500 5 13h6l.5-8.500",
  up: "M3.500 10 8 5.500 12.500 10",
  external: "M9 3h4v4M13 3 7.500 8.500M6.500 4H3v9h9V9.500",
  grid: "M2.500 2.500h11v11h-11zM2.500 6.200h11M2.500 9.800h11M6.200 2.500v11M9.800 2.500v11",
  thumb: "M5 7.500V13H3V7.500zM5 7.500 7.500 2.500c1 0 1.500.700 1.300 1.700L8.400 6.500H12c1 0 1.500.800 1.300 1.600l-1 4c-.2.600-.6.900-1.200.900H5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16, flip }: { name: IconName; size?: number; flip?: boolean }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor"
      strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" style={flip ? { transform: "scaleY(-1)" } : undefined}>
      <path d={PATHS[name]} />
    </svg>
  );
}
