// types.ts - what the API tells of runs, stages, attempts; only what pages use. The API may say more.
export interface Metric { [key: string]: number | string | null | undefined }
export interface Output {
    name: string; verdict?: string; dtype?: string; shape?: number[]; max_abs_error?: number | string | null; max_rel_error?: number | string | null; mean_abs_error?: number | string | null; rmse?: number | string | null;
    cosine?: number | string | null; top1_agreement?: number | string | null; mismatched?: number; elements?: number; nan?: number; inf?: number;
    worst?: {index: number[]; expected: unknown; got: unknown; limit?: number} | null; reasons?: Reason[];
}
export interface Reason { code?: string; text: string; output?: string }
export interface Report {
    verdict: string; precision?: string; atol?: number | null; rtol?: number | null; rule?: string; limits?: {name: string; value: number; from: string}[]; samples?: number; matched_by?: string; outputs?: Output[]; reasons?: Reason[]; notes?: (string | Reason)[];
    metrics?: Metric; budgets?: {name: string; limit: number; measured: number | null; verdict: string; gate?: boolean; why?: string}[]; against_last_good?: {name: string; before: number; now: number; change_pct: number | null}[]; runtime?: Record<string, unknown>;
}
export interface Challenge { id: string; path?: string; probability: number; summary?: string | null; transient?: boolean | null; indicators?: string[]; evidence?: number[]; remedy?: {text: string; commands?: string[]} | null; about?: string | null; came_in?: string | null }
export interface Evidence { line: number; offset?: number; length?: number; text: string; score?: number; why?: string; indicator?: string | null; stage?: string | null }
export interface Diagnosis { state: string; verdict?: string; summary?: string; transient?: boolean | null; challenges?: Challenge[]; evidence?: Evidence[]; nearest?: string[]; decide?: string[]; cuts?: string[]; kb?: string; algorithm?: string }
export interface Stage {
    id: number; position: number; name: string; kind: string; target: string | null; host: string; uses: string | null; toolchain: string | null; labels: string[]; state: string; message: string | null; manual: boolean;
    approved_by: string | null; allow_failure: boolean; fence: number; retries: number; losses: number; retry_max: number; queued_at: string | null; started_at: string | null; ended_at: string | null; timeout_ms: number;
    agent: string | null; needs: string[]; attempt_id: number | null; ok: boolean | null; end_reason: string | null; exit_code: number | null; signal: number | null; attempt_message: string | null; duration_ms: number | null;
    peak_memory_bytes: number | null; report: Report | null; diagnosis: Diagnosis | null; diagnosis_state: string | null; log_bytes: number | null; sandbox: string | null; agent_name: string | null; model_bytes: number;
    risk_p?: number | null; risk_hours?: number | null; gate_why?: string | null; approvers?: string[]; challenge_id?: string | null; challenge_by?: string | null;
}
export interface Run {
    id: number; project: string; number: number | null; ref: string; commit_sha: string | null; commit_message: string | null; commit_author: string | null; commit_at: string | null; state: string; message: string | null;
    trigger: string; created_by: string; model: string | null; pipeline_text: string | null; created_at: string; started_at: string | null; ended_at: string | null; stages: Stage[];
}
export interface Attempt {
    id: number; stage_id: number; stage: string; run_id: number; run_number: number | null; project: string; fence: number; agent_name: string | null; claimed_at: string; started_at: string | null; ended_at: string | null; ok: boolean | null;
    end_reason: string | null; exit_code: number | null; signal: number | null; message: string | null; duration_ms: number | null; peak_memory_bytes: number | null; sandbox: string | null; environment: Record<string, unknown>;
    warnings: string[]; report: Report | null; log_bytes: number; log_complete: boolean; diagnosis: Diagnosis | null; diagnosis_state: string; challenge_id?: string | null; challenge_by?: string | null;
    retry?: {retry: boolean; verdict: string; why: string; saved_ms?: number | null} | null; known_cases?: {url: string; title: string; answered: boolean}[];
    feedback?: {id: number; verdict: string; challenge_id: string | null; comment: string | null; by_name: string; at: string; undone_at: string | null}[];
}
export const open = (state: string) => ["waiting", "gated", "queued", "claimed", "running", "cancelling", "deciding", "preparing"].includes(state);
