@testable import LMoECore
@testable import LMoEFormat

/// A bundle without its zeros, copies and checksums, so that a mutation rarely hits bytes without meaning.
///
/// The file is cut into lines of 64 bytes. Two bytes say how many lines of zeros to skip and how many lines
/// follow; then come these; and so on. The second copies of header and superblocks are left out.
enum CompactForm {
  static let line = 64
  /// No file that a compact form expands to is longer.
  static let maximumBytes = 1 << 20

  private static let fixedBytes = Int(Limits.fixedArea)
  private static let records = [0] + Limits.slots.map { Int($0) }

  /// The compact form of a whole file.
  static func compact(_ file: [UInt8]) -> [UInt8] {
    var file = file
    if file.count >= fixedBytes {
      for record in records {
        for index in record + 504..<record + 4096 { file[index] = 0 }
      }
    }
    file.append(zeros: (line - file.count % line) % line)
    let count = file.count / line
    let isZero = (0..<count).map { Fields(file).isZero(line * $0..<line * ($0 + 1)) }
    var result: [UInt8] = []
    var next = 0
    while next < count {
      let first = (next..<min(next + 255, count)).first { !isZero[$0] } ?? min(next + 255, count)
      let end = (first..<min(first + 255, count)).first { isZero[$0] } ?? min(first + 255, count)
      result += [UInt8(first - next), UInt8(end - first)]
      result += file[line * first..<line * end]
      next = end
    }
    return result
  }

  /// The file that a compact form stands for; any bytes stand for one.
  static func expand(_ input: [UInt8]) -> [UInt8] {
    var file: [UInt8] = []
    file.reserveCapacity(2 * fixedBytes)
    var position = 0
    while position + 1 < input.count, file.count < maximumBytes {
      file.append(zeros: line * Int(input[position]))
      let end = min(input.count, position + 2 + line * Int(input[position + 1]))
      file += input[position + 2..<end]
      position = end
    }
    file.append(zeros: max(fixedBytes - file.count, (line - file.count % line) % line))
    for record in records {
      for index in record..<record + Header.recordBytes { file[index + 2048] = file[index] }
    }
    return file
  }

  /// `file` with the checksums of header, superblocks, roots, manifests and cards as they should be.
  static func sealed(_ file: [UInt8]) -> [UInt8] {
    var file = file
    func word(_ offset: Int) -> Int { Int(truncatingIfNeeded: Fields(file).u64(offset)) }
    func range(_ extent: Int, within end: Int) -> Range<Int>? {
      let (start, length) = (word(extent), word(extent + 8))
      guard start >= 0, length > 0, start <= end, length <= end - start else { return nil }
      return start..<start + length
    }
    func set(_ hash: Bits128, at offset: Int) { file.replaceSubrange(offset..<offset + 16, with: hash.bytes) }

    var roots: [Int: Bits128] = [:]
    for start in stride(from: fixedBytes, through: file.count - Int(Root.minimumBytes), by: 4096) {
      let length = word(start + 104)
      guard file[start...].starts(with: Root.magic), length >= Int(Root.minimumBytes),
        length <= file.count - start
      else { continue }
      if let parent = roots[word(start + 56)] { set(parent, at: start + 72) }
      let body = start + length - Root.trailerBytes
      let bank = BankEntry.encodedBytes
      for entry in stride(from: start + Root.headBytes, through: body - bank, by: bank).prefix(64) {
        for extent in [entry + 24, entry + 56] {
          guard let bytes = range(extent, within: start) else { continue }
          set(Checksum.hash128(Array(file[bytes])), at: extent + 16)
        }
      }
      let hash = Checksum.hash128(Array(file[start..<body]))
      set(hash, at: body)
      roots[start] = hash
    }
    for record in records {
      if Fields(file).isZero(record..<record + 504) { continue }
      if record > 0, let root = roots[word(record + 64)] { set(root, at: record + 80) }
      let whole = LMoEFormat.sealed(Array(file[record..<record + 504]))
      for copy in [record, record + 2048] { file.replaceSubrange(copy..<copy + 512, with: whole) }
    }
    return file
  }
}
