public import LMoECore

/// Tensors by name in a file that `torch.save` wrote, read without running anything.
public final class TorchFile: Sendable {
  /// Its path.
  public let path: String
  /// The tensors, sorted by name.
  public let tensors: [SafetensorsTensor]
  private let file: any File

  /// The longest pickle.
  private static let longestPickle: UInt64 = 64 << 20

  /// Opens and checks the file at `path`.
  ///
  /// - Throws: `torch-invalid` that names what is not a tensor by name, or `io`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws(FormatError) {
    self.path = path
    file = try io { () throws(FileError) in try system.open(path, .read) }
    do throws(FormatError) {
      tensors = try Self.tensors(file)
    } catch {
      throw error.at(path: path)
    }
  }

  private static func tensors(_ file: any File) throws(FormatError) -> [SafetensorsTensor] {
    let archive = try ZipArchive(file)
    guard let pickle = archive.items.first(where: { $0.name.hasSuffix("/data.pkl") }) else {
      throw FormatError(.torchInvalid, field: "it has no data.pkl")
    }
    guard pickle.count <= longestPickle else {
      throw FormatError(.torchInvalid, field: "its pickle is too long", found: "\(pickle.count) bytes")
    }
    let folder = String(decoding: pickle.name.utf8.dropLast("data.pkl".utf8.count), as: UTF8.self)
    if let order = archive.items.first(where: { $0.name.hasSameBytes(as: folder + "byteorder") }) {
      let text = try io { () throws(FileError) in
        try file.bytes(at: order.offset, count: Int(min(order.count, 16)))
      }
      guard text.elementsEqual("little".utf8) else {
        throw FormatError(.torchInvalid, field: "its numbers are big-endian")
      }
    }
    let value = try PickleReader.value(
      try io { () throws(FileError) in try file.bytes(at: pickle.offset, count: Int(pickle.count)) })
    guard case .dictionary(let members) = value else {
      throw FormatError(.torchInvalid, field: "it is no dictionary of tensors")
    }
    let places = Dictionary(
      archive.items.map { (ByteKey($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    var tensors: [SafetensorsTensor] = []
    for (key, value) in members {
      guard let name = key.text, isValidName(name) else {
        throw FormatError(.torchInvalid, field: "a key that is no name of a tensor")
      }
      guard case .tensor(let view) = value else {
        throw FormatError(.torchInvalid, entry: name, field: "it is no tensor")
      }
      guard let item = places[ByteKey(folder + "data/" + view.storage.key)] else {
        throw FormatError(.torchInvalid, entry: name, field: "its bytes are not in the file")
      }
      tensors.append(try tensor(name, view, item))
    }
    tensors.sort { ByteKey($0.name) < ByteKey($1.name) }
    for (left, right) in zip(tensors, tensors.dropFirst()) where left.name.hasSameBytes(as: right.name) {
      throw FormatError(.torchInvalid, entry: left.name, field: "the name stands twice")
    }
    return tensors
  }

  private static func tensor(
    _ name: String, _ view: PickleValue.Tensor, _ item: ZipArchive.Item
  ) throws(FormatError) -> SafetensorsTensor {
    func invalid(_ rule: String) -> FormatError { FormatError(.torchInvalid, entry: name, field: rule) }
    guard view.shape.allSatisfy({ $0 >= 0 }),
      let type = TensorType(dtype: view.storage.dtype, shape: view.shape.map { UInt64($0) })
    else { throw invalid("a shape that a tensor can have") }
    var step = 1
    for (size, stride) in zip(view.shape, view.strides).reversed() {
      guard size <= 1 || stride == step else { throw invalid("its rows do not lie one after the other") }
      step *= max(size, 1)
    }
    let width = type.unitBytes
    let (start, overflow) = view.offset.multipliedReportingOverflow(by: width)
    guard !overflow, UInt64(start) <= item.count, UInt64(type.rawBytes) <= item.count - UInt64(start) else {
      throw invalid("it lies outside of its bytes")
    }
    return SafetensorsTensor(name: name, type: type, offset: item.offset + UInt64(start))
  }

  /// The raw bytes of a tensor.
  public func source(of tensor: SafetensorsTensor) -> any ByteSource { FileSource(file, at: tensor.offset) }
}
