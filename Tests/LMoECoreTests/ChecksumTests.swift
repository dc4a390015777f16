import LMoECore
import Testing

/// XXH3 as everybody else computes it.
@Suite struct ChecksumTests {
  static func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 * 31 + 7) } }

  /// Values of the reference library (python-xxhash): bytes of `pattern`, XXH3-64, XXH3-128.
  static let vectors: [(count: Int, hash64: UInt64, hash128: String)] = [
    (0, 0x2d06_8005_38d3_94c2, "99aa06d3014798d86001c324468d497f"),
    (1, 0x4c5c_ca45_d0f4_811f, "495b62073ef70ca44c5cca45d0f4811f"),
    (3, 0x15f7_093b_173d_005c, "46f66cb93538156515f7093b173d005c"),
    (4, 0xdca0_12f9_5811_b6b9, "7fefeeffb4d0eab3b987ca5d9241572a"),
    (8, 0xdec6_a9a4_3575_982e, "803c675a846cc6c256bb836ceb6d4baa"),
    (9, 0xcbe3_9339_9f17_ffbd, "d46556872d230f224376673580310154"),
    (16, 0x7e48_4c18_d748_95d0, "650fe308c566747df853dd94614dfa07"),
    (17, 0x208b_de5e_e2be_d407, "18217300b5132d5a78c349fe81b2f26c"),
    (128, 0xf92b_70ea_a21a_6288, "b4f87b99d2db8a511e04fad9f0cacb4d"),
    (129, 0xf8f7_6713_f2bb_60fa, "6881633650cd8924c51bc887976aef63"),
    (240, 0xccc7_3751_72c4_1f03, "de57aab31e77a2ff93e173833f75ab66"),
    (241, 0x0b3b_6309_48ce_4a00, "92b991a7192f3f080b3b630948ce4a00"),
    (1024, 0x23bc_880e_bf0d_29c6, "4c17271c906df79223bc880ebf0d29c6"),
    (5000, 0x559f_ff92_c2b7_f8ee, "3bf60aa89c7feeaa559fff92c2b7f8ee"),
  ]

  @Test(arguments: vectors) func `reference values`(count: Int, hash64: UInt64, hash128: String) {
    let bytes = Self.pattern(count)
    #expect(Checksum.hash64(bytes) == hash64)
    #expect(Checksum.hash128(bytes).description == hash128)
    #expect(Checksum.hash128(bytes) == Bits128(hexadecimal: hash128))
  }

  @Test func `the place in memory does not matter`() {
    for (count, hash64, hash128) in Self.vectors {
      for shift in 0..<33 {
        let padded = [UInt8](repeating: 0xAA, count: shift) + Self.pattern(count) + [0xBB]
        padded.withUnsafeBytes { all in
          let bytes = UnsafeRawBufferPointer(rebasing: all[shift..<shift + count])
          #expect(Checksum.hash64(bytes) == hash64)
          #expect(Checksum.hash128(bytes).description == hash128)
        }
      }
    }
  }

  @Test(arguments: [1, 3, 63, 64, 65, 255, 256, 257, 1000, 1023, 1024, 1025, 4999])
  func `a stream in pieces`(piece: Int) {
    let hash = StreamingHash()
    for (count, hash64, hash128) in Self.vectors {
      hash.reset()
      let bytes = Self.pattern(count)
      for start in stride(from: 0, to: count, by: piece) {
        hash.update(Array(bytes[start..<min(start + piece, count)]))
      }
      // Asking does not end it, and nothing is something to take in.
      for _ in 0..<2 {
        #expect(hash.digest64 == hash64)
        #expect(hash.digest.description == hash128)
        hash.update([])
      }
    }
  }

  @Test func `a stream in pieces of every size, asked in between`() {
    let bytes = Self.pattern(70_000)
    let hash = StreamingHash()
    var position = 0
    var piece = 1
    while position < bytes.count {
      let end = min(position + piece, bytes.count)
      hash.update(Array(bytes[position..<end]))
      position = end
      piece = (piece * 7 + 3) % 2311
      #expect(hash.digest == Checksum.hash128(Array(bytes[..<position])))
    }
  }

  @Test func `every bit counts`() {
    for count in [1, 8, 16, 100, 200, 300, 1500] {
      var bytes = Self.pattern(count)
      let (before64, before128) = (Checksum.hash64(bytes), Checksum.hash128(bytes))
      for bit in 0..<8 * count {
        bytes[bit / 8] ^= 1 << (bit % 8)
        #expect(Checksum.hash64(bytes) != before64 && Checksum.hash128(bytes) != before128)
        bytes[bit / 8] ^= 1 << (bit % 8)
      }
    }
  }
}
