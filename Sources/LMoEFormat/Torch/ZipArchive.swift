import LMoECore

/// The files of a zip archive that are stored as they are, which is how PyTorch writes them.
struct ZipArchive {
  /// A file of the archive.
  struct Item {
    let name: String
    /// Where its bytes begin, and how many they are.
    let offset: UInt64
    let count: UInt64
  }

  let items: [Item]

  /// The longest comment behind the directory.
  private static let longestTail: UInt64 = 65_557
  private static let mostItems = 1 << 20

  /// Reads the directory of an archive.
  ///
  /// - Throws: `torch-invalid`.
  init(_ file: any File) throws(FormatError) {
    let size = try io { () throws(FileError) in try file.size() }
    let tail = min(size, Self.longestTail)
    let bytes = try io { () throws(FileError) in try file.bytes(at: size - tail, count: Int(tail)) }
    guard tail >= 22,
      let place = (0...(bytes.count - 22)).last(where: {
        Fields(bytes[$0...]).u32(0) == 0x0605_4B50
          && Int(Fields(bytes[$0...]).u16(20)) == bytes.count - $0 - 22
      })
    else { throw Self.invalid("it is no zip archive; save it again with a newer PyTorch") }
    let end = Fields(bytes[place...])
    let (count, length, start) = (Int(end.u16(10)), UInt64(end.u32(12)), UInt64(end.u32(16)))
    guard count != 0xFFFF, start != 0xFFFF_FFFF else {
      throw Self.invalid("a zip archive of more than 4 GiB")
    }
    guard start + length <= size, length >= UInt64(46 * count) else {
      throw Self.invalid("the directory of the archive lies outside of it")
    }
    let directory = try io { () throws(FileError) in try file.bytes(at: start, count: Int(length)) }
    var items: [Item] = []
    var position = 0
    for _ in 0..<count {
      guard position + 46 <= directory.count else { throw Self.invalid("the directory is cut off") }
      let record = Fields(directory[position...])
      let (name, extra, comment) = (Int(record.u16(28)), Int(record.u16(30)), Int(record.u16(32)))
      guard record.u32(0) == 0x0201_4B50, position + 46 + name + extra + comment <= directory.count,
        let text = String(validating: record.slice(46, name), as: UTF8.self)
      else { throw Self.invalid("a record of the directory is damaged") }
      guard record.u16(10) == 0, record.u16(8) & 1 == 0, record.u32(20) == record.u32(24) else {
        throw FormatError(.torchInvalid, entry: text, field: "it is compressed or encrypted")
      }
      items.append(try Self.item(text, record, in: file, size: size))
      position += 46 + name + extra + comment
    }
    self.items = items
  }

  /// Where the bytes are, which the header before them tells.
  private static func item(
    _ name: String, _ record: Fields, in file: any File, size: UInt64
  ) throws(FormatError) -> Item {
    let (offset, count) = (UInt64(record.u32(42)), UInt64(record.u32(24)))
    guard offset + 30 <= size else {
      throw FormatError(.torchInvalid, entry: name, field: "it lies outside of the archive")
    }
    let header = Fields(try io { () throws(FileError) in try file.bytes(at: offset, count: 30) })
    let start = offset + 30 + UInt64(header.u16(26)) + UInt64(header.u16(28))
    guard header.u32(0) == 0x0403_4B50, start <= size, count <= size - start else {
      throw FormatError(.torchInvalid, entry: name, field: "it lies outside of the archive")
    }
    return Item(name: name, offset: start, count: count)
  }

  private static func invalid(_ rule: String) -> FormatError { FormatError(.torchInvalid, field: rule) }
}
