import Foundation
import LMoECore
import LMoEFormat
import Testing

/// Operations fail: the bundle is as it was, and the next attempt goes through.
@Suite struct FaultTests {
  private func add(_ system: SimulatedFileSystem) throws {
    let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    try writer.addBank("expert/d", card: Samples.card("expert"), entries: try Samples.expert(40))
    try writer.commit(note: "add expert/d")
  }

  @Test(arguments: [SimulatedFileSystem.Operation.read, .write, .sync, .truncate, .open])
  func `an error at every single operation`(operation: SimulatedFileSystem.Operation) throws {
    var number = 0
    var failures = 0
    while number < 500 {
      let system = try Samples.bundle()
      let old = try LogicalContent(Bundle(path: Samples.path, in: system))
      system.fail(operation, at: number, code: EIO)
      do {
        try add(system)
        break
      } catch let error as FormatError {
        failures += 1
        system.fail(operation, at: .max, code: 0)
        let content = try LogicalContent(Bundle(path: Samples.path, in: system))
        if error.code == .commitUncertain {
          #expect(content.generation == old.generation || content.generation == old.generation + 1)
        } else {
          #expect(error.code == .io, "\(error)")
          #expect(content == old)
          try add(system)
          #expect(try Bundle(path: Samples.path, in: system).generation == old.generation + 1)
        }
      }
      number += 1
    }
    #expect(failures > 0 || operation == .truncate)
    #expect(number < 500)
  }

  @Test func `a disk that fills up at every size`() throws {
    let full = try Samples.bundle()
    let before = try #require(full.contents(Samples.path)).count
    try add(full)
    let after = try #require(full.contents(Samples.path)).count
    for capacity in stride(from: before, to: after, by: 97) {
      let system = try Samples.bundle()
      let old = try LogicalContent(Bundle(path: Samples.path, in: system))
      system.setCapacity(capacity)
      let error = #expect(throws: FormatError.self) { try add(system) }
      #expect(error?.description.contains("the disk is full") == true, "\(String(describing: error))")
      #expect(try LogicalContent(Bundle(path: Samples.path, in: system)) == old)
      #expect(system.contents(Samples.path)?.count == before, "what was written is taken back")
      system.setCapacity(.max)
      try add(system)
    }
  }

  @Test func `a new file that fails leaves nothing`() throws {
    for number in 0..<40 {
      let system = SimulatedFileSystem()
      system.fail(.write, at: number, code: ENOSPC)
      do {
        _ = try Samples.bundle(in: system)
        break
      } catch is FormatError {
        #expect(system.paths.allSatisfy { $0 == Samples.path })
      }
    }
  }

  @Test func `an error in the last step is not hidden`() throws {
    let system = try Samples.bundle()
    system.fail(.sync, at: 1, code: EIO)
    let error = #expect(throws: FormatError.self) { try add(system) }
    #expect(error?.code == .commitUncertain)
  }

  @Test func `two writers`() throws {
    let system = try Samples.bundle()
    let first = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    let error = #expect(throws: FormatError.self) {
      _ = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    }
    #expect(error?.code == .locked)
    first.abort()
    try add(system)
  }

  @Test func `no locks`() throws {
    let system = try Samples.bundle()
    system.setSupportsLocks(false)
    let error = #expect(throws: FormatError.self) {
      _ = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    }
    #expect(error?.code == .locksUnsupported)
    #expect(error?.description.contains("--no-lock") == true)
    var options = Samples.options
    options.allowsMissingLocks = true
    let writer = try BundleWriter(appendingTo: Samples.path, options: options, in: system)
    try writer.removeBank("expert/b")
    try writer.commit(note: "remove")
    #expect(try Bundle(path: Samples.path, in: system).generation == 4)
  }

  @Test func `a writer that is dropped takes back what it wrote`() throws {
    let system = try Samples.bundle()
    let before = system.contents(Samples.path)
    do {
      let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
      try writer.addBank("expert/d", card: Samples.card("expert"), entries: try Samples.expert(40))
    }
    #expect(system.contents(Samples.path) == before)
    try add(system)
  }

  @Test func `a file replaced while a writer waits is noticed`() throws {
    // The lock belongs to the file, not to the path: the writer must look again.
    let system = try Samples.bundle()
    var compaction = Compaction()
    compaction.options = Samples.options
    _ = try compaction.run(Samples.path, in: system)
    try add(system)
    #expect(try Bundle(path: Samples.path, in: system).root.bank("expert/d") != nil)
  }

  @Test func `readers are not disturbed`() throws {
    let system = try Samples.bundle()
    let reader = try Bundle(path: Samples.path, in: system)
    let old = try LogicalContent(reader)
    try add(system)
    #expect(try LogicalContent(reader) == old)
    var compaction = Compaction()
    compaction.options = Samples.options
    _ = try compaction.run(Samples.path, in: system)
    #expect(try LogicalContent(reader) == old)
    let fresh = try Bundle(path: Samples.path, in: system)
    #expect(fresh.generation == old.generation + 2)
    #expect(try fresh.history().count == 1)
  }
}
