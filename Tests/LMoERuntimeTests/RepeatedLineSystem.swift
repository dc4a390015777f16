import Foundation
import LMoECore

/// A disk with one large file, all of whose lines are the same and nowhere in memory.
final class RepeatedLineSystem: FileSystem, File, @unchecked Sendable {
  let path = "large.jsonl"
  let fileSize: UInt64
  private let lines: [UInt8]
  private let period: Int
  private(set) var largestRead = 0

  init(line: String, count: Int) {
    period = line.utf8.count
    lines = Array(String(repeating: line, count: 1 + (1 << 20) / line.utf8.count + 1).utf8)
    fileSize = UInt64(line.utf8.count * count)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileError) {
    largestRead = max(largestRead, buffer.count)
    let start = Int(offset) % period
    lines.withUnsafeBytes {
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + buffer.count]))
    }
  }

  func size() throws(FileError) -> UInt64 { fileSize }
  func modificationTime() throws(FileError) -> Int64 { 1 }
  func identity() throws(FileError) -> FileIdentity { FileIdentity(device: 1, inode: 1) }
  func open(_ path: String, _ mode: FileMode) throws(FileError) -> any File { self }
  func kind(_ path: String) -> FileKind? { .file }
  func identity(_ path: String) throws(FileError) -> FileIdentity { FileIdentity(device: 1, inode: 1) }
  func resolve(_ path: String) -> String { path }

  private var refusal: FileError { FileError(.write, path: path, code: EROFS) }
  func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(FileError) { throw refusal }
  func sync(_ scope: SyncScope) throws(FileError) { throw refusal }
  func truncate(to size: UInt64) throws(FileError) { throw refusal }
  func reserve(_ length: UInt64, at offset: UInt64) throws(FileError) { throw refusal }
  func lockForWriting() throws(FileError) -> LockOutcome { .unsupported }
  func isLockedByAnother() -> Bool { false }
  func unlock() {}
  func map(length: UInt64) throws(FileError) -> MappedRegion { throw refusal }
  func rename(_ source: String, to target: String) throws(FileError) { throw refusal }
  func copyPermissions(from source: String, to target: String) {}
  func remove(_ path: String) throws(FileError) { throw refusal }
  func syncDirectory(of path: String) throws(FileError) { throw refusal }
  func list(_ directory: String) throws(FileError) -> [String] { throw refusal }
  func makeDirectory(_ path: String) throws(FileError) { throw refusal }
  func removeDirectory(_ path: String) throws(FileError) { throw refusal }
}
