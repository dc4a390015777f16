import LMoECore
import LMoEFormat
import Testing

/// Every field of every structure set to 0, 1, the largest value and values near it, all checksums made to
/// hold again: never a trap, never another content.
@Suite struct HostileFieldTests {
  let bytes: [UInt8]
  let original: LogicalContent
  let superblock: Superblock

  init() throws {
    let system = try Samples.bundle()
    bytes = try #require(system.contents(Samples.path))
    let bundle = try Bundle(path: Samples.path, in: system)
    original = try LogicalContent(bundle)
    superblock = bundle.superblock
  }

  private static let values: [UInt64] = [
    0, 1, 2, 7, 8, 4095, 4096, 65_535, 65_536, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 46) + 1,
    1 << 47,
    1 << 60, 1 << 63, (1 << 63) - 1, .max - 4095, .max - 1, .max,
  ]

  private func check(_ bytes: [UInt8], _ what: String) {
    for recovers in [false, true] {
      var options = BundleOptions()
      options.recovers = recovers
      do {
        let bundle = try Bundle(
          path: Samples.path, options: options, in: SimulatedFileSystem(files: [Samples.path: bytes]))
        let content = try LogicalContent(bundle)
        _ = try bundle.history()
        // Hints and informational fields may differ; the banks may not. A superblock that was made to say
        // that it is older is one that was never overwritten.
        if !recovers && bundle.generation == original.generation {
          #expect(content.banks.map(\.contentID) == original.banks.map(\.contentID), "\(what)")
        }
      } catch is FormatError {
      } catch { Issue.record("\(what): \(error)") }
    }
  }

  /// Calls `body` with copies of `bytes` in which 2, 4 or 8 bytes at each place of `range` are replaced.
  private func mutations(
    _ range: Range<Int>, _ body: (inout [UInt8]) -> Void
  ) {
    for place in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
      for width in [2, 4, 8] where place + width <= range.upperBound {
        for value in Self.values where width == 8 || value < 1 << (8 * width) {
          var mutated = bytes
          for byte in 0..<width { mutated[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
          body(&mutated)
          check(mutated, "\(width) bytes at \(place) = \(value)")
        }
      }
    }
  }

  private func write(_ value: UInt64, at place: Int, in bytes: inout [UInt8]) {
    for byte in 0..<8 { bytes[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
  }

  private func seal(_ record: Int, in bytes: inout [UInt8]) {
    write(Checksum.hash64(Array(bytes[record..<record + 504])), at: record + 504, in: &bytes)
  }

  /// Makes the root's trailer and the superblock hold again.
  private func sealRoot(in bytes: inout [UInt8]) {
    let start = Int(superblock.root.offset)
    let end = start + Int(superblock.root.length) - 16
    let hash = Checksum.hash128(Array(bytes[start..<end])).bytes
    bytes.replaceSubrange(end..<end + 16, with: hash)
    for record in [0x8000, 0x8800] {
      bytes.replaceSubrange(record + 80..<record + 96, with: hash)
      seal(record, in: &bytes)
    }
  }

  @Test func `the header`() {
    mutations(0..<64) { mutated in
      mutated.replaceSubrange(2048..<2560, with: mutated[0..<512])
      seal(0, in: &mutated)
      seal(2048, in: &mutated)
    }
  }

  @Test func `the superblock`() {
    mutations(0x8000..<0x8000 + 112) { mutated in
      mutated.replaceSubrange(0x8800..<0x8A00, with: mutated[0x8000..<0x8200])
      seal(0x8000, in: &mutated)
      seal(0x8800, in: &mutated)
    }
  }

  @Test func `the root and its bank entries`() {
    let start = Int(superblock.root.offset)
    mutations(start..<start + 128 + 2 * 128) { sealRoot(in: &$0) }
  }

  @Test(arguments: ["base", "expert/b"])
  func `the manifest`(name: String) throws {
    let index = try #require(original.banks.firstIndex { $0.name == name })
    let manifest = original.banks[index].manifest
    let start = Int(manifest.offset)
    let entry = Int(superblock.root.offset) + 128 + 128 * index
    mutations(start..<start + Int(manifest.length)) { mutated in
      let hash = Checksum.hash128(Array(mutated[start..<start + Int(manifest.length)]))
      mutated.replaceSubrange(entry + 40..<entry + 56, with: hash.bytes)
      sealRoot(in: &mutated)
    }
  }
}
