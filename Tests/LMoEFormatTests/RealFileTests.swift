import Foundation
import LMoECore
import LMoEFormat
import Testing

/// The same on real files: locks, links, files that vanish, readers that stay.
@Suite final class RealFileTests {
  let directory: URL
  var path: String { directory.appending(path: "bundle.lmoe").path }

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    let system = try Samples.bundle()
    let bytes = try #require(system.contents(Samples.path))
    try Data(bytes).write(to: URL(filePath: path))
  }

  deinit { try? FileManager.default.removeItem(at: directory) }

  private func open(_ path: String? = nil) throws -> LMoEFormat.Bundle {
    try LMoEFormat.Bundle(path: path ?? self.path)
  }

  private func add(_ name: String, to path: String? = nil) throws {
    let writer = try BundleWriter(appendingTo: path ?? self.path, options: Samples.options)
    try writer.addBank("expert/" + name, card: Samples.card("expert"), entries: try Samples.expert(50))
    try writer.commit(note: "add " + name)
  }

  private func compact(_ codec: CodecPolicy? = nil, at path: String? = nil) throws {
    var compaction = Compaction()
    compaction.options = Samples.options
    compaction.codec = codec
    _ = try compaction.run(path ?? self.path)
  }

  @Test func `a reader stays whole across add, remove and compaction`() throws {
    try compact(.raw)
    let reader = try open()
    let old = try LogicalContent(reader)
    let bank = try reader.bank("base")
    let entry = try #require(try reader.manifest(of: bank).tensor("embed"))
    let mapped = try #require(try reader.mappedBytes(of: entry, in: bank))
    let before = Array(mapped.region.bytes[mapped.range])
    try add("new")
    let writer = try BundleWriter(appendingTo: path, options: Samples.options)
    try writer.removeBank("expert/b")
    try writer.commit(note: "remove")
    try compact(.planes)
    #expect(try LogicalContent(reader) == old)
    #expect(Array(mapped.region.bytes[mapped.range]) == before)
    #expect(try open().generation == old.generation + 3)
  }

  @Test func `two writers, also in one process`() throws {
    let first = try BundleWriter(appendingTo: path, options: Samples.options)
    let error = #expect(throws: FormatError.self) { try self.add("x") }
    #expect(error?.code == .locked)
    #expect(throws: FormatError.self) { try self.compact() }
    // Reading goes on, and closing a reader does not give the lock away.
    _ = try open().verify(decoding: true)
    #expect(throws: FormatError.self) { try self.add("x") }
    first.abort()
    try add("x")
  }

  @Test(arguments: [false, true])
  func `a path that vanishes, or is replaced, while a change is on its way`(isReplaced: Bool) throws {
    let writer = try BundleWriter(appendingTo: path, options: Samples.options)
    try writer.removeBank("expert/b")
    let original = try Data(contentsOf: URL(filePath: path))
    try FileManager.default.removeItem(atPath: path)
    if isReplaced { try original.write(to: URL(filePath: path)) }
    let error = #expect(throws: FormatError.self) { try writer.commit(note: "remove") }
    #expect(error?.code == .replaced)
    if isReplaced { #expect(try Data(contentsOf: URL(filePath: path)) == original) }
  }

  @Test func `through a symbolic link`() throws {
    let link = directory.appending(path: "link.lmoe").path
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "bundle.lmoe")
    try add("x", to: link)
    try compact(at: link)
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "bundle.lmoe")
    #expect(try open().root.bank("expert/x") != nil)
    #expect(try open(link).generation == open().generation)
  }

  @Test func `a file cut short under a reader is an error, not a crash`() throws {
    try compact(.raw)
    let reader = try open()
    let bank = try reader.bank("base")
    let entry = try #require(try reader.manifest(of: bank).tensor("embed"))
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.truncate(atOffset: 65_536)
    try handle.close()
    let error = #expect(throws: FormatError.self) { _ = try reader.bytes(of: entry, in: bank) }
    #expect(error?.code == .io)
    // The map is not touched before a call that can fail has brought its pages in.
    #expect(throws: FormatError.self) { _ = try reader.mappedBytes(of: entry, in: bank) }
    #expect(throws: FormatError.self) {
      _ = try reader.load([BankedEntry(bank: bank.name, entry: entry)]) { _ in 2 }
    }
    #expect(try reader.verify(decoding: false).allSatisfy { $0.code == .io })
  }

  @Test func `what a map is used for is checked, once`() throws {
    try compact(.raw)
    let readers = [try open(), try open()]
    let bank = try readers[0].bank("base")
    let entry = try #require(try readers[0].manifest(of: bank).tensor("embed"))
    func load(_ reader: LMoEFormat.Bundle) throws {
      let loaded = try reader.load([BankedEntry(bank: bank.name, entry: entry)]) { _ in 2 }
      #expect(loaded.map(\.isMapped) == [true])
    }
    try load(readers[0])
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.seek(toOffset: try #require(entry.chunks.last).offset)
    try handle.write(contentsOf: [1, 2, 3])
    try handle.close()
    try load(readers[0])
    let error = #expect(throws: FormatError.self) { try load(readers[1]) }
    #expect(error?.code == .chunkDamaged && error?.entry == "embed")
    #expect(throws: FormatError.self) { _ = try readers[1].mappedBytes(of: entry, in: bank) }
  }

  @Test func `a failed new file leaves no trace`() throws {
    let target = directory.appending(path: "new.lmoe").path
    do {
      let writer = try BundleWriter(creating: target, options: Samples.options)
      #expect(throws: FormatError.self) {
        try writer.addBank("base", card: Samples.card("base"), entries: [FailingSource.entry()])
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["bundle.lmoe"])
  }
}

/// Weights that cannot be read.
private struct FailingSource: ByteSource {
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    throw FormatError(FileError(.read, path: "weights", code: EIO, offset: offset))
  }

  static func entry() throws -> NewEntry {
    let type = try #require(TensorType(dtype: .f32, shape: [1000]))
    return NewEntry(tensor: "w", type: type, source: FailingSource())
  }
}
