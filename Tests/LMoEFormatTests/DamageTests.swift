import LMoECore
import LMoEFormat
import Testing

/// Damage anywhere is an error that names the place, or makes no difference.
@Suite struct DamageTests {
  let bytes: [UInt8]
  let original: LogicalContent

  init() throws {
    let system = try Samples.bundle()
    bytes = try #require(system.contents(Samples.path))
    original = try LogicalContent(Bundle(path: Samples.path, in: system))
  }

  private func open(
    _ bytes: [UInt8], _ options: BundleOptions = BundleOptions()
  ) throws -> Bundle {
    try Bundle(path: Samples.path, options: options, in: SimulatedFileSystem(files: [Samples.path: bytes]))
  }

  @Test(arguments: [0x01, 0x80, 0xFF] as [UInt8])
  func `every flipped byte`(mask: UInt8) throws {
    var undetected = 0
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= mask
      do {
        let content = try LogicalContent(try open(damaged))
        #expect(content == original, "byte \(index)")
        undetected += 1
      } catch let error as FormatError {
        #expect(error.path == Samples.path)
        #expect(!error.description.isEmpty)
      }
    }
    // Gaps and history may change unseen; bytes that the generation names may not.
    #expect(undetected < bytes.count)
  }

  @Test func `every flipped byte of the fixed records is repaired`() throws {
    for record in [0, 2048, 0x4000, 0x4800, 0x8000, 0x8800] {
      for index in record..<record + 512 {
        var damaged = bytes
        damaged[index] ^= 0x10
        let bundle = try open(damaged)
        #expect(try LogicalContent(bundle) == original)
        // Superblocks of the first generation's slot were never both written before generation 2.
        #expect(bundle.damagedCopies == 1)
      }
    }
  }

  @Test func `every truncation`() throws {
    var recover = BundleOptions()
    recover.recovers = true
    var older = 0
    for length in 0..<bytes.count {
      let cut = Array(bytes[..<length])
      #expect(throws: FormatError.self) { _ = try LogicalContent(try open(cut)) }
      if let bundle = try? open(cut, recover) {
        #expect(bundle.isRecovered && !bundle.isWritable)
        #expect(bundle.generation <= original.generation)
        if bundle.generation < original.generation { older += 1 }
      }
    }
    #expect(older > 0, "some truncations must leave an older generation to recover")
  }

  @Test func `verify names every damaged bank and tensor`() throws {
    let bundle = try open(bytes)
    var damaged = bytes
    var expected: Set<String> = []
    for bank in bundle.banks {
      for entry in try bundle.manifest(of: bank).entries {
        guard let chunk = entry.chunks.last else { continue }
        damaged[Int(chunk.offset)] ^= 4
        expected.insert("\(bank.name) \(entry.name) \(chunk.offset)")
      }
    }
    for usesMap in [true, false] {
      var options = BundleOptions()
      options.usesMap = usesMap
      for decoding in [true, false] {
        let found = try open(damaged, options).verify(decoding: decoding)
        #expect(Set(found.map { "\($0.bank ?? "") \($0.entry ?? "") \($0.offset ?? 0)" }) == expected)
        #expect(found.allSatisfy { $0.code == .chunkDamaged })
      }
    }
  }

  @Test func `eager verification refuses at opening`() throws {
    let bundle = try open(bytes)
    let chunk = try #require(try bundle.manifest(of: bundle.bank("base")).tensor("embed")?.chunks.first)
    var damaged = bytes
    damaged[Int(chunk.offset) + 1] ^= 1
    var options = BundleOptions()
    options.verification = .eager
    #expect(throws: FormatError.self) { _ = try open(damaged, options) }
    options.verification = .firstUse
    _ = try open(damaged, options)
  }
}
