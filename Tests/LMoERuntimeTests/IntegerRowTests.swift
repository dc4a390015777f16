import CLMoEKernels
import Testing

/// Rows of x in fifteen bits.
@Suite struct IntegerRowTests {
  /// A row: its integers, the scales of runs of 32, and the sums of runs of 16.
  private func row(_ values: [Float]) -> (integers: [Int], scales: [Float], sums: [Int]) {
    let x = GuardedMemory(values)
    let out = GuardedMemory([UInt8](repeating: 0xFF, count: lmoe_integer_row_bytes(values.count)))
    lmoe_integer_rows(x.base, values.count, 1, values.count, out.base)
    let padded = (values.count + 127) / 128 * 128
    let raw = UnsafeRawPointer(out.base)
    var integers: [Int] = []
    for index in 0..<padded {
      let high = Int(raw.load(fromByteOffset: index, as: Int8.self))
      let low = Int(raw.load(fromByteOffset: padded + index, as: Int8.self))
      #expect(abs(high) <= 127 && (-64..<64).contains(low))
      integers.append(128 * high + low)
    }
    var scales: [Float] = []
    for run in 0..<padded / 32 {
      scales.append(raw.load(fromByteOffset: 2 * padded + 4 * run, as: Float.self))
    }
    var sums: [Int] = []
    for part in 0..<padded / 16 {
      let offset = 2 * padded + padded / 8 + 4 * part
      sums.append(Int(raw.load(fromByteOffset: offset, as: Int32.self)))
    }
    return (integers, scales, sums)
  }

  @Test func `each is the nearest, ties to even`() {
    var values: [Float] = [16256, -16256, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 100.49, 100.51, 0]
    values += [Float](repeating: -3, count: 21)
    let found = row(values)
    #expect(Array(found.integers[..<11]) == [16256, -16256, 0, 2, 2, 0, -2, -2, 100, 101, 0])
    #expect(found.scales == [1, 0, 0, 0])
    #expect(found.sums[0] == found.integers[..<16].reduce(0, +))
    #expect(found.sums[1] == -48)
    #expect(found.integers[32...].allSatisfy { $0 == 0 } && found.sums[2...].allSatisfy { $0 == 0 })
  }

  @Test func `none is off by more than half a step`() {
    var numbers = Numbers(31)
    for count in [1, 31, 32, 33, 64, 100, 1000] {
      let values = numbers.floats(count, scale: 3)
      let found = row(values)
      for (index, value) in values.enumerated() {
        let scale = found.scales[index / 32]
        let run = values[index / 32 * 32..<min(count, index / 32 * 32 + 32)]
        let largest: Float = run.map { abs($0) }.max() ?? 0
        #expect(scale == largest / 16256)
        #expect(abs(Float(found.integers[index]) * scale - value) <= 0.502 * scale)
      }
      #expect(found.integers[count...].allSatisfy { $0 == 0 })
      for (index, sum) in found.sums.enumerated() {
        #expect(sum == found.integers[16 * index..<16 * index + 16].reduce(0, +))
      }
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `what is not finite stays so`(value: Float) {
    var values = [Float](repeating: 1, count: 96)
    values[40] = value
    let found = row(values)
    let one: Float = 1 / 16256
    #expect(found.scales[1].isNaN && found.scales[0] == one && found.scales[2] == one)
    #expect(found.integers[32..<64].allSatisfy { $0 == 0 })
  }

  @Test func `next to nothing is nothing`() {
    let found = row([Float](repeating: 0x1p-101, count: 32) + [Float](repeating: 0x1p-100, count: 32))
    let scale: Float = 0x1p-100 / 16256
    #expect(found.scales == [0, scale, 0, 0])
    #expect(
      found.integers[..<32].allSatisfy { $0 == 0 } && found.integers[32..<64].allSatisfy { $0 == 16256 })
  }
}
