// spark.tsx - a line without axes, for a cell.

/** A line without axes, for a cell. */
export function Spark({values, bad, width = 60, height = 18, label}: {values: (number | null)[]; bad?: boolean; width?: number; height?: number; label: string}) {
    const v = values.map((n, i) => [i, n] as const).filter((p): p is readonly [number, number] => p[1] !== null);
    if (v.length < 2)
        return null;
    const lo = Math.min(...v.map((p) => p[1])), hi = Math.max(...v.map((p) => p[1])), n = values.length - 1;
    const at = (i: number, y: number) => `${(2 + (width - 4) * i / n).toFixed(1)} ${(height - 3 - (height - 6) * (hi > lo ? (y - lo) / (hi - lo) : .5)).toFixed(1)}`;
    const last = v[v.length - 1];
    return <svg class={`spark ${bad ? "bad" : ""}`} width={width} height={height} role="img" aria-label={label}><path d={"M" + v.map(([i, y]) => at(i, y)).join("L")} /><circle cx={at(last[0], last[1]).split(" ")[0]} cy={at(last[0], last[1]).split(" ")[1]} r="2" /></svg>;
}
