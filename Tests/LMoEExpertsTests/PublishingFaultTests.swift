import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Whatever fails while trained values are published: the old bundle or the new one, never a third.
@Suite struct PublishingFaultTests {
  /// Cards and values of all banks.
  private struct Content: Equatable {
    let generation: UInt64
    let banks: [BankEntry]
    let cards: [JSON?]

    init(_ system: SimulatedFileSystem, _ path: String = TrainingSamples.path) throws {
      let bundle = try Bundle(path: path, in: system)
      if let damage = try bundle.verify(decoding: true, on: WorkerPool(count: 1)).first { throw damage }
      (generation, banks) = (bundle.generation, bundle.banks)
      cards = try bundle.banks.map { try bundle.card(of: $0) }
    }
  }

  private func publish(_ system: SimulatedFileSystem, output: String? = nil) throws {
    let bundle = try Bundle(path: TrainingSamples.path, in: system)
    try TrainingSamples.weights.publish(
      to: TrainingSamples.path, expecting: try TrainingSamples.stamps(bundle), output: output,
      options: TrainingSamples.options, in: system)
  }

  @Test(arguments: [nil, "other.lmoe"])
  func `the power fails at any moment`(output: String?) throws {
    let system = try TrainingSamples.bundle()
    let old = try Content(system)
    let snapshots = Guarded<[SimulatedFileSystem.Snapshot]>([])
    system.onSync { snapshot in snapshots.withValue { $0.append(snapshot) } }
    try publish(system, output: output)
    system.onSync(nil)
    let new = try Content(system, output ?? TrainingSamples.path)
    var outcomes: [Bool: Int] = [:]
    for snapshot in snapshots.withValue({ $0 }) {
      for (fates, names) in powerFailures(of: snapshot) {
        let after = SimulatedFileSystem(files: snapshot.crash(fates, namesApplied: names))
        let content = try Content(after)
        if let output {
          #expect(content == old, "the original is never touched")
          let isThere = after.kind(output) != nil
          if isThere { #expect(try Content(after, output) == new) }
          outcomes[isThere, default: 0] += 1
        } else {
          #expect(content == old || content == new)
          outcomes[content == new, default: 0] += 1
        }
      }
    }
    #expect(outcomes[false, default: 0] > 0 && outcomes[true, default: 0] > 0, "the test is blind")
  }

  @Test(arguments: [SimulatedFileSystem.Operation.read, .write, .sync, .rename, .open], [nil, "other.lmoe"])
  func `an error at every single operation`(
    operation: SimulatedFileSystem.Operation, output: String?
  ) throws {
    var failures = 0
    for number in 0..<120 {
      let system = try TrainingSamples.bundle()
      let old = try Content(system)
      system.fail(operation, at: number, code: 5)
      var failure: FormatError?
      do { try publish(system, output: output) } catch let error as FormatError { failure = error }
      system.fail(operation, at: .max, code: 0)
      guard let failure else {
        if output == nil { #expect(try Content(system).generation == 2) }
        continue
      }
      failures += 1
      if failure.code == .commitUncertain {
        #expect(try Content(system).generation <= 2)
        continue
      }
      #expect(failure.code == .io, "\(failure)")
      #expect(try Content(system) == old && system.paths == [TrainingSamples.path])
      try publish(system, output: output)
    }
    #expect(failures > 0 || (operation == .rename && output == nil))
  }

  @Test func `a disk that fills up`() throws {
    let full = try TrainingSamples.bundle()
    let before = try #require(full.contents(TrainingSamples.path)).count
    try publish(full)
    let after = try #require(full.contents(TrainingSamples.path)).count
    for capacity in stride(from: before, to: after, by: 511) {
      let system = try TrainingSamples.bundle()
      let old = try Content(system)
      system.setCapacity(capacity)
      let error = #expect(throws: FormatError.self) { try publish(system) }
      #expect(error?.description.contains("the disk is full") == true)
      #expect(try Content(system) == old)
      #expect(system.contents(TrainingSamples.path)?.count == before)
    }
  }
}
