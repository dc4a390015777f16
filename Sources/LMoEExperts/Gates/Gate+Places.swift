import LMoECore

/// The places where a gate decides: modules, layers, or the one of the whole model.
extension Gate {
  /// The name of the only place of a global gate.
  public static let globalPlace = "global"

  /// Where the decision for a module is made, by the name that tensors have it under; nil for a module outside
  /// the layers under a gate of layers.
  public func place(ofModule module: String) -> String? {
    switch scope {
    case .module: module
    case .layer: Self.layer(of: module)
    case .global: Self.globalPlace
    }
  }

  /// `model.layers.<number>` of a module's name, compared by bytes.
  static func layer(of module: String) -> String? {
    let head = Array("model.layers.".utf8)
    guard module.utf8.starts(with: head) else { return nil }
    let number = module.utf8.dropFirst(head.count).prefix { (0x30...0x39).contains($0) }
    guard isNumber(number), module.utf8.dropFirst(head.count + number.count).first == UInt8(ascii: ".")
    else { return nil }
    return String(decoding: head + number, as: UTF8.self)
  }

  /// The number of the layer that a place is, or is in; nil for other places.
  public static func layerNumber(of place: String) -> Int? {
    layer(of: place + ".").flatMap { Int(String(decoding: $0.utf8.dropFirst(13), as: UTF8.self)) }
  }

  /// Whether `name` can be a place of this gate.
  func isPlace(_ name: String) -> Bool {
    switch scope {
    case .module: !name.isEmpty
    case .layer: Self.layer(of: name + ".").map { $0.hasSameBytes(as: name) } ?? false
    case .global: name.hasSameBytes(as: Self.globalPlace)
    }
  }

  /// A decimal number without leading zeros, not longer than any model has layers.
  private static func isNumber(_ digits: some Collection<UInt8>) -> Bool {
    (1...5).contains(digits.count) && (digits.count == 1 || digits.first != 0x30)
      && digits.allSatisfy { (0x30...0x39).contains($0) }
  }
}
