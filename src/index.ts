export { KeelsonError } from './errors.ts'
