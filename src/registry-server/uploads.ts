import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Digest } from '../oci/digest.ts'
import { empty, type Answer } from './answer.ts'
import { ApiError } from './api-error.ts'
import type { BlobWriter, Blobs } from './blobs.ts'
import { parseContentRange } from './range.ts'
import { bodyOf } from './request.ts'

interface Upload {
  repository: string
  writer: BlobWriter
  /** A request is appending to it. */
  busy: boolean
}

/** Uploads in progress: "Pushing blobs" of the distribution specification. */
export class Uploads {
  readonly #blobs: Blobs
  readonly #byId = new Map<string, Upload>()

  constructor(blobs: Blobs) {
    this.#blobs = blobs
  }

  /** Opens a session. */
  async begin(repository: string): Promise<Answer> {
    const id = randomUUID()
    const upload = { repository, writer: await this.#blobs.begin(), busy: false }
    this.#byId.set(id, upload)
    return progress(202, id, upload)
  }

  /** How far a session is. */
  status(id: string, repository: string): Answer {
    return progress(204, id, this.#get(id, repository))
  }

  /** Appends one chunk, or a stream of any length when it has no `Content-Range`. */
  async append(id: string, repository: string, request: IncomingMessage): Promise<Answer> {
    const upload = this.#get(id, repository)
    await receive(id, upload, request)
    return progress(202, id, upload)
  }

  /** Appends what the closing request carries and makes the blob. The session is over whatever the outcome. */
  async finish(
    id: string,
    repository: string,
    digest: Digest,
    request: IncomingMessage,
  ): Promise<void> {
    const upload = this.#get(id, repository)
    await receive(id, upload, request)
    this.#byId.delete(id)
    await upload.writer.commit(digest)
  }

  /** A whole blob in one request. */
  async monolithic(repository: string, digest: Digest, request: IncomingMessage): Promise<void> {
    const upload = { repository, writer: await this.#blobs.begin(), busy: false }
    try {
      await receive('', upload, request)
    } catch (error) {
      await upload.writer.abort()
      throw error
    }
    await upload.writer.commit(digest)
  }

  async cancel(id: string, repository: string): Promise<Answer> {
    const upload = this.#get(id, repository)
    if (upload.busy) throw busy()
    this.#byId.delete(id)
    await upload.writer.abort()
    return empty(204)
  }

  /** Drops every session. */
  async close(): Promise<void> {
    const uploads = [...this.#byId.values()]
    this.#byId.clear()
    await Promise.all(uploads.map((upload) => upload.writer.abort()))
  }

  #get(id: string, repository: string): Upload {
    const upload = this.#byId.get(id)
    if (upload?.repository !== repository) {
      throw new ApiError(404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload in this repository')
    }
    return upload
  }
}

async function receive(id: string, upload: Upload, request: IncomingMessage): Promise<void> {
  if (upload.busy) throw busy()
  upload.busy = true
  try {
    checkRange(id, upload, request)
    for await (const chunk of bodyOf(request)) await upload.writer.append(chunk)
  } finally {
    upload.busy = false
  }
}

/** Chunks must come in order, and a chunk that states its range must state it truly. */
function checkRange(id: string, upload: Upload, request: IncomingMessage): void {
  const header = request.headers['content-range']
  if (header === undefined) return
  const range = parseContentRange(header)
  if (range === undefined) {
    throw new ApiError(400, 'BLOB_UPLOAD_INVALID', 'Content-Range is <start>-<end>', { header })
  }
  const { size } = upload.writer
  if (range.start !== size) {
    const { headers } = progress(416, id, upload)
    throw new ApiError(
      416,
      'BLOB_UPLOAD_INVALID',
      `the next chunk begins at ${size}`,
      null,
      headers,
    )
  }
  const length = request.headers['content-length']
  if (length !== undefined && Number(length) !== range.end - range.start + 1) {
    throw new ApiError(400, 'SIZE_INVALID', 'Content-Range and Content-Length differ')
  }
}

function progress(status: number, id: string, { repository, writer }: Upload): Answer {
  return empty(status, {
    location: `/v2/${repository}/blobs/uploads/${id}`,
    // The specification's range is inclusive and has no way to say "nothing"; other registries say 0-0 as well.
    range: `0-${Math.max(writer.size - 1, 0)}`,
    'docker-upload-uuid': id,
  })
}

function busy(): ApiError {
  return new ApiError(409, 'BLOB_UPLOAD_INVALID', 'another request is writing to this upload')
}
