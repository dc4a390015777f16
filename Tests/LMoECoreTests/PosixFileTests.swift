import Foundation
import LMoECore
import Testing

/// The operating system's files, and the one way to replace one.
@Suite(.timeLimit(.minutes(1))) final class PosixFileTests {
  private let system = PosixFileSystem()
  private let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID())").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  private func path(_ name: String) -> String { directory + "/" + name }

  @discardableResult private func make(_ name: String, _ text: String = "old") throws -> String {
    try Data(text.utf8).write(to: URL(filePath: path(name)))
    return path(name)
  }

  private func text(_ name: String) -> String? { try? String(contentsOfFile: path(name), encoding: .utf8) }

  private func refusal(_ name: String, _ mode: FileMode) -> FileError? {
    #expect(throws: FileError.self, "\(name) \(mode)") { _ = try system.open(path(name), mode) }
  }

  @Test func `what cannot be opened`() throws {
    try make("file")
    try system.makeDirectory(path("directory"))
    for mode in [FileMode.read, .update] {
      let missing = try #require(refusal("missing", mode))
      #expect(missing.isNotFound)
      #expect(missing.description == "cannot open \(path("missing")): no such file or directory")
      #expect(refusal("directory", mode)?.code == EISDIR)
      #expect(refusal("file/inside", mode)?.code == ENOTDIR)
      #expect(refusal("", mode)?.code == EISDIR)
    }
    #expect(refusal("file", .createNew)?.code == EEXIST)
    #expect(refusal("missing/inside", .createNew)?.isNotFound == true)
    #expect(refusal("missing/inside", .createNew)?.operation == .create)
  }

  @Test func `a FIFO is refused at once`() throws {
    let fifo = path("fifo")
    #expect(mkfifo(fifo, 0o600) == 0)
    #expect(system.kind(fifo) == .other)
    // Without a writer, a plain open for reading would wait for ever: on a thread that can be let go.
    let codes = Guarded<[Int32]>([])
    let done = DispatchSemaphore(value: 0)
    Thread {
      for mode in [FileMode.read, .update] {
        do throws(FileError) { _ = try PosixFileSystem().open(fifo, mode) } catch {
          codes.withValue { $0.append(error.code) }
        }
      }
      done.signal()
    }.start()
    if done.wait(timeout: .now() + 10) == .timedOut {
      Issue.record("it waits for a writer")
      close(Foundation.open(fifo, O_RDWR))
    }
    #expect(codes.withValue { $0 } == [EINVAL, EINVAL])
    #expect(#expect(throws: FileError.self) { _ = try system.open("/dev/null", .read) }?.code == EINVAL)
  }

  @Test func `reading and writing`() throws {
    let file = try system.open(path("new"), .createNew)
    try file.write(Array("hello".utf8), at: 3)
    #expect(try file.size() == 8)
    #expect(try file.bytes(at: 0, count: 8) == [0, 0, 0] + Array("hello".utf8))
    #expect(try file.bytes(at: 8, count: 0) == [])
    let short = #expect(throws: FileError.self) { _ = try file.bytes(at: 5, count: 4) }
    #expect(short?.code == 0 && short?.offset == 8)
    #expect(short?.description == "cannot read \(path("new")) at offset 8: the file ends too early")
    #expect(throws: FileError.self) { _ = try file.bytes(at: .max - 8, count: 1) }
    try file.truncate(to: 2)
    #expect(try file.size() == 2 && file.identity() == system.identity(path("new")))
    let reader = try system.open(path("new"), .read)
    #expect(throws: FileError.self) { try reader.write([1], at: 0) }
    #expect(throws: FileError.self) { _ = try reader.map(length: 0) }
  }

  @Test func `a map of what is no longer there`() throws {
    let (page, file) = (Int(getpagesize()), try system.open(path("file"), .createNew))
    let bytes = (0..<40 * page + 100).map { UInt8(truncatingIfNeeded: $0 / page) }
    try file.write(bytes, at: 0)
    // One that was written just now, and one that the system has given up as far as it does.
    for isGivenUp in [false, true] {
      if isGivenUp {
        try file.sync(.everything)
        let descriptor = open(path("file"), O_RDONLY)
        #expect(posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED)) == 0)
        close(descriptor)
      }
      let region = try system.open(path("file"), .read).map(length: UInt64(bytes.count))
      for end in [bytes.count, page + 1, 5] { #expect(region.populate(min(5, end)..<end), "\(end)") }
      #expect(region.bytes.elementsEqual(bytes))
    }
    let region = try system.open(path("file"), .read).map(length: UInt64(bytes.count))
    #expect(region.populate(0..<bytes.count))
    try file.truncate(to: UInt64(3 * page))
    #expect(region.populate(0..<3 * page))
    for start in [3 * page, 3 * page - 1, 0, 40 * page] {
      #expect(!region.populate(start..<max(start, 3 * page) + 1), "\(start)")
    }
  }

  @Test func `one writer at a time, even in one process`() throws {
    try make("file")
    let first = try system.open(path("file"), .update)
    let second = try system.open(path("file"), .update)
    #expect(try first.lockForWriting() == .taken)
    #expect(try second.lockForWriting() == .heldByAnother)
    first.unlock()
    #expect(try second.lockForWriting() == .taken)
  }

  @Test func `names in the order of their bytes`() throws {
    for name in ["b", "a", "B", "é", "e\u{301}", "a.10", "a.2", ".hidden", "with space"] { try make(name) }
    let expected: [ByteKey] = [".hidden", "B", "a", "a.10", "a.2", "b", "e\u{301}", "with space", "é"]
    #expect(try system.list(directory).map { ByteKey($0) } == expected)
    #expect(throws: FileError.self) { _ = try system.list(path("a")) }
    #expect(system.kind(path("a")) == .file)
    #expect(system.kind(directory) == .directory)
    #expect(system.kind(path("no")) == nil)
    #expect(["a", "/a", "/a/b"].map(PosixFileSystem.directory(of:)) == [".", "/", "/a"])
  }

  // MARK: writeAtomically

  private func replace(_ name: String, _ text: String = "new", failing: Bool = false) throws {
    try writeAtomically(path(name), in: system, failure: { $0 }) { (file) throws(FileError) in
      try file.write(Array(text.utf8), at: 0)
      if failing { throw FileError(.write, path: name, code: ENOSPC) }
    }
  }

  @Test func `a new file and a replaced one`() throws {
    try replace("fresh")
    #expect(text("fresh") == "new")
    try make("file")
    let before = try system.identity(path("file"))
    let reader = try system.open(path("file"), .read)
    try replace("file")
    #expect(text("file") == "new")
    #expect(try system.identity(path("file")) != before)
    #expect(try reader.bytes(at: 0, count: 3) == Array("old".utf8), "a reader keeps the old file")
    #expect(try system.list(directory) == ["file", "fresh"])
  }

  @Test func `a symbolic link stays and its target is replaced`() throws {
    try system.makeDirectory(path("elsewhere"))
    try make("elsewhere/file")
    try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: "elsewhere/file")
    try FileManager.default.createSymbolicLink(atPath: path("link to link"), withDestinationPath: "link")
    try replace("link to link")
    #expect(text("elsewhere/file") == "new")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path("link")) == "elsewhere/file")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path("link to link")) == "link")
    #expect(try system.list(path("elsewhere")) == ["file"])
  }

  @Test func `a failure leaves the old file and nothing else`() throws {
    try make("file")
    let error = #expect(throws: FileError.self) { try replace("file", "half", failing: true) }
    #expect(error?.code == ENOSPC && error?.description.contains("the disk is full") == true)
    #expect(throws: FileError.self) { try replace("fresh", failing: true) }
    try system.makeDirectory(path("directory"))
    #expect(throws: FileError.self) { try replace("directory") }
    #expect(throws: FileError.self) { try replace("missing/file") }
    #expect(try system.list(directory) == ["directory", "file"])
    #expect(text("file") == "old")
  }

  @Test
  func `a link that leads nowhere yet stays`() throws {
    try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: "target")
    try replace("link")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path("link")) == "target")
    #expect(text("target") == "new")
  }
}
