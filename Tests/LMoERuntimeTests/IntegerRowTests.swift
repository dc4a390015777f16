import CLMoEKernels
import Testing

/// Rows of x in eight bits.
@Suite struct IntegerRowTests {
  /// A row: its integers, the scales of runs of 32, and the sums of runs of 16.
  private func row(_ values: [Float]) -> (q: [Int8], scales: [Float], sums: [Int32]) {
    let x = GuardedMemory(values)
    let out = GuardedMemory([UInt8](repeating: 0xFF, count: lmoe_integer_row_bytes(values.count)))
    lmoe_integer_rows(x.base, values.count, 1, values.count, out.base)
    let padded = (values.count + 127) / 128 * 128
    let raw = UnsafeRawPointer(out.base)
    return (
      (0..<padded).map { raw.load(fromByteOffset: $0, as: Int8.self) },
      (0..<padded / 32).map { raw.load(fromByteOffset: padded + 4 * $0, as: Float.self) },
      (0..<padded / 16).map { raw.load(fromByteOffset: padded + padded / 8 + 4 * $0, as: Int32.self) }
    )
  }

  @Test func `each is the nearest, ties to even`() {
    var values: [Float] = [127, -127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 100.49, 100.51, 0]
    values += [Float](repeating: -3, count: 21)
    let found = row(values)
    #expect(found.q.prefix(11) == [127, -127, 0, 2, 2, 0, -2, -2, 100, 101, 0])
    #expect(found.scales == [1, 0, 0, 0])
    #expect(found.sums[0] == found.q[..<16].reduce(0) { $0 + Int32($1) })
    #expect(found.sums[1] == -48)
    #expect(found.q[32...].allSatisfy { $0 == 0 } && found.sums[2...] == [0, 0, 0, 0, 0, 0])
  }

  @Test func `none is off by more than half a step`() {
    var numbers = Numbers(31)
    for count in [1, 31, 32, 33, 64, 100, 1000] {
      let values = numbers.floats(count, scale: 3)
      let found = row(values)
      for (index, value) in values.enumerated() {
        let scale = found.scales[index / 32]
        let run = values[index / 32 * 32..<min(count, index / 32 * 32 + 32)]
        #expect(scale == (run.map(abs).max() ?? 0) / 127)
        #expect(abs(Float(found.q[index]) * scale - value) <= 0.50001 * scale)
      }
      #expect(found.q[count...].allSatisfy { $0 == 0 })
      for (index, sum) in found.sums.enumerated() {
        #expect(sum == found.q[16 * index..<16 * index + 16].reduce(0) { $0 + Int32($1) })
      }
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `what is not finite stays so`(value: Float) {
    var values = [Float](repeating: 1, count: 96)
    values[40] = value
    let found = row(values)
    #expect(found.scales[1].isNaN && found.scales[0] == 1 / 127 && found.scales[2] == 1 / 127)
    #expect(found.q[32..<64].allSatisfy { $0 == 0 })
  }

  @Test func `next to nothing is nothing`() {
    let found = row([Float](repeating: 0x1p-101, count: 32) + [Float](repeating: 0x1p-100, count: 32))
    #expect(
      found.scales == [0, 0x1p-100 / 127, 0, 0]
        && found.q == .init(repeating: 0, count: 32) + .init(repeating: 127, count: 32)
          + .init(repeating: 0, count: 64)
    )
  }
}
