/** The codes of the table "Error Codes" in the OCI distribution specification, and two that registries commonly add. */
export type ApiErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'UNSUPPORTED'
  | 'TOOMANYREQUESTS'
  | 'PAGINATION_NUMBER_INVALID'
  | 'UNKNOWN'

/** A request that is answered with an error document. It never leaves the server: clients see the HTTP answer. */
export class ApiError extends Error {
  readonly status: number
  readonly code: ApiErrorCode
  readonly detail: unknown
  readonly headers: Record<string, string>

  constructor(
    status: number,
    code: ApiErrorCode,
    message: string,
    detail: unknown = null,
    headers: Record<string, string> = {},
  ) {
    super(message)
    this.status = status
    this.code = code
    this.detail = detail
    this.headers = headers
  }
}
